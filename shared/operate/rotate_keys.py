"""`rotate-keys`: put every data key of the service, and what it keeps on restricted topics, under the first key of the rings."""

from collections.abc import Mapping

import click
from cryptography.exceptions import InvalidTag

from shared.messaging.republish import Rekeyed, rekey_after
from shared.operate.task import run_task
from shared.persistence.mongo import Mongo
from shared.persistence.vault import DATA_KEYS, STORED_ANSWERS, KeyRing, count_stale, rewrap
from shared.service import Process, Service


def command(service: Service) -> click.Command:
    @click.command("rotate-keys")
    def rotate_keys() -> None:
        """Rewrap every data key under the first key of the ring; may be stopped and begun again.

        Order: give every process the ring with the new key at the end; then with the new key first; then run this;
        then take the old key out of the ring. The transport key is rotated in the same way by its producer, intake: the
        live records of the restricted topic are published again. Its old key goes when the topic has been compacted,
        six hours later, and nothing of the old key waits in the outbox (the report of another run tells it) or among
        the reader's dead letters.
        """

        async def work(process: Process) -> int:
            await rekey(process.mongo, process.wiring.under_transport_key)
            return await rotate(process.mongo, process.runtime.ring)

        run_task(service, work)

    return rotate_keys


async def rekey(mongo: Mongo, kinds: Mapping[str, Rekeyed]) -> None:
    """Publish again what lies on a restricted topic under another transport key than the present one."""
    for label, kind in kinds.items():
        after, done = "", 0
        with click.progressbar(length=await mongo.plumbing(kind.collection).count(kind.stale()), label=label) as bar:
            while ids := await rekey_after(mongo, kind, after):
                after, done = ids[-1], done + len(ids)
                bar.update(len(ids))
        click.echo(f"{label}: {done} published again under {kind.kid}")
    if kinds:
        unsent = {"subject_id": {"$exists": True}, "state": {"$in": ["pending", "dead"]}}
        click.echo(f"outbox: {await mongo.plumbing('outbox').count(unsent)} restricted records wait to be sent")


async def rotate(mongo: Mongo, ring: KeyRing) -> int:
    """Raises ClickException when something is under a key that the ring does not have."""
    for kind in (DATA_KEYS, STORED_ANSWERS):
        done = 0
        with click.progressbar(length=await count_stale(mongo, ring, kind), label=kind.collection) as bar:
            try:
                while number := await rewrap(mongo, ring, kind):
                    done += number
                    bar.update(number)
            except (KeyError, InvalidTag) as error:
                reason = "is under a key that the ring does not have" if isinstance(error, KeyError) else "was changed"
                raise click.ClickException(f"{kind.collection}: {done} rewrapped, then one {reason}") from None
        click.echo(f"{kind.collection}: {done} now under {ring.current}")
    return 0
