"""Which tests stay together on one of the workers: they look at the same."""

from xdist.scheduler import LoadScopeScheduling

WHOLE = ("tests/integration/walk",)


class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """A file at a time, of some folders all files."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = nodeid.partition("::")[0]
        return next((folder for folder in WHOLE if file.startswith(f"{folder}/")), file)
