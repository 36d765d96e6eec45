"""The board in a real Chromium: an alarm appears, is acknowledged, the stream is cut, comes back, nothing missed."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from playwright.async_api import Page, expect

from deploy.local.stack import CLINIC, Stack
from shared.clock import SystemClock
from shared.events.envelope import Envelope, rfc3339
from shared.events.monitoring import EvaluatorBeat, UnrecordedAlarm
from shared.ids import new_id
from shared.messaging.kafka import KafkaAddress, new_producer
from shared.messaging.topics import BEATS
from tests.faults.proxy import Proxy, Way
from tests.integration.monitoring.test_nurse import Nurse
from tests.support.browser import chromium, need_chromium

LOUD_MS, BACK_MS, SHOWN_MS = 8_000, 15_000, 10_000
CALM = {"8480-6": (121, "mm[Hg]"), "59408-5": (97, "%"), "9279-1": (14, "/min"), "8867-4": (72, "/min")}


class Ward:
    """One chair and its nurse, who does not go by the way that the board goes."""

    def __init__(self, stack: Stack, clinic: str = CLINIC) -> None:
        self.nurse = Nurse(stack)
        self.nurse.client.headers["Authorization"] = f"Bearer {stack.token('nurse', 'nurse-1', clinic)}"
        self.nurse.prescriber = {"Authorization": f"Bearer {stack.token('prescriber', 'doctor-1', clinic)}"}
        self._stack, self.clinic = stack, clinic
        self.path = self.nurse.session("dosing")

    @property
    def session_id(self) -> str:
        return self.path.rpartition("/")[2]

    def measures(self, sign: str, value: float | None = None) -> None:
        calm, unit = CALM[sign]
        about = {"sign": sign, "value": calm if value is None else value, "unit": unit, "device": "manual"}
        reading = about | {"taken_at": self._stack.now().isoformat(timespec="milliseconds")}
        self.nurse.post(f"{self.path}/vitals", {"readings": [reading]}).raise_for_status()

    def rejects(self, sign: str, value: float) -> None:
        rows = self.nurse.client.get(f"{self.path}/vitals?sign={sign}").json()["items"]
        (reading,) = [row["id"] for row in rows if row["value"] == value]
        self.nurse.post(f"{self.path}/vitals/{reading}/artefact").raise_for_status()

    def alarm(self, rule: str) -> dict[str, Any]:
        (found,) = self.nurse.client.get(f"/v1/alarms?session_id={self.session_id}&rule={rule}").json()["items"]
        return dict(found)

    def acknowledges(self, rule: str) -> None:
        self.nurse.post(f"/v1/alarms/{self.alarm(rule)['id']}/acknowledge").raise_for_status()


@pytest.fixture(scope="module", autouse=True)
def _browser() -> None:
    """Before anybody sits in a chair."""
    need_chromium()


@pytest.fixture
def way(stack: Stack) -> Iterator[Way]:
    """To the monitoring service, for the browser alone."""
    with Proxy() as proxy:
        yield proxy.way(stack.ports["monitoring"])


@pytest.fixture
def ward(stack: Stack) -> Iterator[Ward]:
    """In a clinic of its own: a page sounds for every chair of its clinic."""
    made = Ward(stack, str(uuid4()))
    yield made
    made.nurse.post(f"{made.path}/leave", {"disposition": "transferred"})
    made.nurse.client.close()


@pytest.fixture
async def page(way: Way, ward: Ward) -> AsyncIterator[Page]:
    """The board, signed in as a nurse, with its chair; no fault of the page itself is let pass."""
    faults: list[str] = []
    async with chromium() as browser:
        made = await browser.new_page()
        made.on("pageerror", lambda error: faults.append(str(error)))
        made.on("console", lambda said: faults.append(said.text) if "Content Security" in said.text else None)
        await made.goto(f"http://127.0.0.1:{way.port}/board")
        await signs_in(made, clinic=ward.clinic)
        await expect(chair(made, ward)).to_be_visible(timeout=SHOWN_MS)
        yield made
        assert faults == []


async def signs_in(page: Page, role: str = "nurse", clinic: str = CLINIC) -> None:
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_label("Role").select_option(role)
    await page.get_by_role("textbox", name="Clinic").fill(clinic)
    await page.get_by_role("button", name="Sign in").click()


def chair(page: Page, ward: Ward) -> Any:
    return page.locator(f"#chair-{ward.session_id}")


def logged(page: Page, ward: Ward, rule: str, transition: str) -> Any:
    return page.locator(f'#log [data-alarm="{ward.alarm(rule)["id"]}"][data-transition="{transition}"]')


async def test_a_chair_shows_who_where_and_how_they_are(page: Page, ward: Ward) -> None:
    for sign in CALM:
        ward.measures(sign)
    shown = chair(page, ward)
    await expect(shown.locator(".label")).to_have_text("ADA")
    await expect(shown.locator(".where")).to_contain_text("R · chair 2 · dosing, 0 min since dose")
    await expect(shown.locator('[data-sign="8480-6"] dd')).to_contain_text("121", timeout=SHOWN_MS)
    await expect(shown.locator(".due")).to_contain_text("Next: blood pressure at")
    await expect(shown).to_have_attribute("data-colour", "none")


async def test_a_value_that_a_human_calls_an_artefact_leaves_the_board_at_once(page: Page, ward: Ward) -> None:
    systolic = chair(page, ward).locator('[data-sign="8480-6"] dd')
    for value in (121, 230):
        ward.measures("8480-6", value)
        await expect(systolic).to_contain_text(str(value), timeout=SHOWN_MS)
    ward.rejects("8480-6", 230)
    await expect(systolic).to_contain_text("121", timeout=SHOWN_MS)
    ward.rejects("8480-6", 121)
    await expect(systolic).to_have_count(0, timeout=SHOWN_MS)


async def test_an_alarm_appears_and_is_acknowledged_by_keyboard(page: Page, ward: Ward) -> None:
    ward.measures("8480-6", 35)
    shown = chair(page, ward)
    await expect(shown).to_have_attribute("data-colour", "red", timeout=SHOWN_MS)
    await expect(shown.locator(".count")).to_have_text("1 high")
    await expect(page.locator("#spoken")).to_contain_text("Alarm high, ADA, R chair 2")
    await expect(page.locator("body")).to_have_attribute("data-sounding", "high", timeout=SHOWN_MS)
    button = shown.get_by_role("button", name="Acknowledge: high: sbp collapse")
    await shown.focus()
    await page.keyboard.press("Tab")
    await expect(button).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(shown.locator(".alarms")).to_contain_text("accepted", timeout=SHOWN_MS)
    await expect(page.locator("body")).to_have_attribute("data-sounding", "", timeout=SHOWN_MS)
    assert ward.alarm("sbp_collapse")["acknowledged_at"]
    await expect(shown.get_by_role("button", name="At bedside")).to_be_focused()


async def test_help_is_called_from_the_board_and_the_chair_is_named_above_all(page: Page, ward: Ward) -> None:
    ward.measures("8480-6", 35)
    await chair(page, ward).get_by_role("button", name="Call for help").click()
    await expect(logged(page, ward, "sbp_collapse", "escalated")).to_have_count(1, timeout=SHOWN_MS)
    await expect(chair(page, ward).get_by_role("button", name="Call for help")).to_be_hidden()
    assert ward.alarm("sbp_collapse")["escalated_at"]
    link = page.get_by_role("navigation").get_by_role("link", name="ADA, R chair 2: 1 high")
    await expect(link).to_have_attribute("href", f"#chair-{ward.session_id}")


async def test_help_for_an_accepted_alarm_is_acknowledged_anew(page: Page, ward: Ward) -> None:
    ward.measures("8480-6", 35)
    shown = chair(page, ward)
    await shown.get_by_role("button", name="Acknowledge").click()
    await expect(shown.get_by_role("button", name="Acknowledge")).to_be_hidden(timeout=SHOWN_MS)
    await shown.get_by_role("button", name="Call for help").click()
    await expect(page.locator("body")).to_have_attribute("data-sounding", "high", timeout=SHOWN_MS)
    await shown.get_by_role("button", name="Acknowledge").click()
    await expect(shown.locator(".alarms")).to_contain_text("accepted", timeout=SHOWN_MS)
    await shown.get_by_role("button", name="Call for help").click()  # again, for whoever accepted is not enough
    await expect(shown.get_by_role("button", name="Acknowledge")).to_be_visible(timeout=SHOWN_MS)
    await expect(shown.get_by_role("button", name="Call for help")).to_be_hidden()


async def test_a_button_after_the_end_of_the_sign_in_says_so(page: Page, ward: Ward) -> None:
    ward.measures("8480-6", 35)
    await page.route("**/acknowledge", lambda route: route.fulfill(status=401))
    await chair(page, ward).get_by_role("button", name="Acknowledge").click()
    await expect(page.locator("#link")).to_have_text("Your sign-in has ended", timeout=SHOWN_MS)
    await expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    await expect(page.locator("#lost")).to_be_visible()


async def test_silence_mutes_the_sound_and_nothing_else(page: Page, ward: Ward) -> None:
    ward.measures("8480-6", 35)
    shown = chair(page, ward)
    await expect(page.locator("body")).to_have_attribute("data-sounding", "high", timeout=SHOWN_MS)
    await shown.get_by_role("button", name="Mute 2 min").click()
    await expect(page.locator("body")).to_have_attribute("data-sounding", "", timeout=SHOWN_MS)
    await expect(shown).to_have_attribute("data-colour", "red")
    assert ward.alarm("sbp_collapse").get("acknowledged_at") is None
    await expect(logged(page, ward, "sbp_collapse", "silenced")).to_have_count(1)
    ward.measures("59408-5")
    await expect(shown.locator('[data-sign="59408-5"]')).to_have_count(1, timeout=SHOWN_MS)
    await expect(logged(page, ward, "sbp_collapse", "raised")).to_have_count(1)


async def test_a_cut_stream_is_loud_at_once_and_nothing_is_missed(page: Page, ward: Ward, way: Way) -> None:
    ward.measures("8480-6", 35)
    await expect(chair(page, ward)).to_have_attribute("data-colour", "red", timeout=SHOWN_MS)
    way.become("cut")
    await expect(page.locator("#lost")).to_be_visible(timeout=LOUD_MS)
    await expect(page.locator("body")).to_have_attribute("data-sounding", "lost", timeout=SHOWN_MS)
    ward.measures("59408-5", 0)
    ward.acknowledges("spo2_collapse")
    ward.acknowledges("sbp_collapse")
    way.become("open")
    await expect(page.locator("#lost")).to_be_hidden(timeout=BACK_MS)
    for rule, transitions in {
        "spo2_collapse": ("raised", "acknowledged"),
        "sbp_collapse": ("raised", "acknowledged"),
    }.items():
        for transition in transitions:
            await expect(logged(page, ward, rule, transition)).to_have_count(1, timeout=SHOWN_MS)
    await expect(chair(page, ward).locator(".count")).to_have_text("2 high")
    await expect(page.locator("#log")).not_to_contain_text("may have come and gone")


async def test_a_stream_that_falls_silent_is_loud_within_seconds(page: Page, ward: Ward, way: Way) -> None:
    way.become("stalled")
    await expect(page.locator("#lost")).to_be_visible(timeout=LOUD_MS)
    await expect(page.locator("#lost")).to_have_attribute("role", "alert")
    way.become("open")
    await expect(page.locator("#lost")).to_be_hidden(timeout=BACK_MS)
    await expect(chair(page, ward)).to_be_visible()


async def test_an_alarm_that_another_process_could_not_record_is_shown_as_such(way: Way, stack: Stack) -> None:
    clinic = str(uuid4())
    ward = Ward(stack, clinic)
    now = SystemClock().system_now()
    alarm = UnrecordedAlarm(session_id=ward.session_id, rule="spo2_collapse", priority="high", since=now)
    beat = EvaluatorBeat(evaluator="elsewhere", at=now, store="gone", sessions=[], unrecorded=[alarm])
    headers = Envelope(
        id=new_id(),
        source="/stillwater/monitoring/evaluator/elsewhere",
        type=EvaluatorBeat.event_type(),
        time=rfc3339(now),
        clinic_id=clinic,
        partition_key=clinic,
    ).headers()
    async with chromium() as browser, new_producer(KafkaAddress(stack.kafka), "test") as producer:
        page = await browser.new_page()
        await page.goto(f"http://127.0.0.1:{way.port}/board")
        await signs_in(page, clinic=clinic)
        await expect(chair(page, ward)).to_be_visible(timeout=SHOWN_MS)
        await producer.send_and_wait(BEATS.name, beat.model_dump_json().encode(), clinic.encode(), headers=headers)
        await expect(chair(page, ward)).to_contain_text("NOT RECORDED: spo2 collapse (high)", timeout=SHOWN_MS)
        await expect(page.locator("#unrecorded")).to_contain_text("ADA, R chair 2")
        await expect(chair(page, ward).locator(".count")).to_have_text("1 high")
        await expect(page.locator("body")).to_have_attribute("data-sounding", "lost", timeout=SHOWN_MS)
    ward.nurse.post(f"{ward.path}/leave", {"disposition": "transferred"}).raise_for_status()
    ward.nurse.client.close()


def told(event: str, **data: Any) -> str:
    return f"event: {event}\ndata: {json.dumps({'store': 'ok', 'unrecorded': [], **data})}\n\n"


async def test_on_a_quiet_board_minutes_pass_and_values_grow_old(page: Page) -> None:
    """Twelve minutes in which nothing is measured, in one breath."""
    systolic = {"8480-6": {"value": 121, "at": "2026-01-01T12:00:00.000Z", "trend": "steady"}}
    quiet = {"session_id": "quiet", "label": "BO", "room": "R", "chair": "9", "phase": "dosing", "version": 1}
    quiet |= {"dosed_at": "2026-01-01T12:00:00.000Z", "alarms": [], "signs": systolic, "due": None}
    stream = told("snapshot", at="2026-01-01T12:00:00.000Z", chairs=[quiet], missed=None)
    stream += told("beat", at="2026-01-01T12:12:00.000Z")
    event_stream = {"Content-Type": "text/event-stream"}
    await page.route("**/v1/board/stream", lambda route: route.fulfill(body=stream, headers=event_stream))
    await page.evaluate("document.getElementById('sign-out').click()")
    await page.wait_for_url("**/board")
    await signs_in(page)
    await expect(page.locator("#chair-quiet .where")).to_contain_text("12 min since dose", timeout=SHOWN_MS)
    await expect(page.locator('#chair-quiet [data-sign="8480-6"] dd')).to_have_text("121 of 12:00")


async def test_of_a_token_with_several_clinics_the_board_shows_the_one_that_is_chosen(ward: Ward, way: Way) -> None:
    async with chromium() as browser:
        page = await browser.new_page()
        await page.goto(f"http://127.0.0.1:{way.port}/board")
        await signs_in(page, clinic=f"{uuid4()} {ward.clinic}")
        await expect(page.locator("#link")).to_have_text("Connected", timeout=SHOWN_MS)
        await expect(chair(page, ward)).to_have_count(0)
        await page.get_by_label("Clinic").select_option(ward.clinic)
        await expect(chair(page, ward)).to_be_visible(timeout=SHOWN_MS)


async def test_who_may_not_see_it_is_told_so(way: Way) -> None:
    async with chromium() as browser:
        page = await browser.new_page()
        await page.goto(f"http://127.0.0.1:{way.port}/board")
        await signs_in(page, "front_desk")
        await expect(page.locator("#link")).to_have_text("Your role does not admit the board", timeout=SHOWN_MS)


def test_the_page_is_static_and_runs_nothing_inline(stack: Stack) -> None:
    answer = httpx.get(f"{stack.url('monitoring')}/board")
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'; style-src 'self'" in policy
    assert "unsafe" not in policy
    assert f"connect-src 'self' {stack.issuer};" in policy
    assert "<script>" not in answer.text
    assert "style=" not in answer.text
    assert httpx.get(f"{stack.url('monitoring')}/board/settings.py").status_code == 404


def test_a_code_is_good_once_and_for_its_own_verifier(stack: Stack) -> None:
    asked = {"client_id": "stillwater-board", "redirect_uri": "http://127.0.0.1:9/board", "state": "s"}
    asked |= {"code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}  # RFC 7636, appendix B
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"

    def code() -> str:
        answer = httpx.post(f"{stack.issuer}/authorize", data=asked | {"role": "nurse", "clinic": CLINIC})
        return httpx.URL(answer.headers["location"]).params["code"]

    def redeem(one: str, secret: str) -> httpx.Response:
        return httpx.post(f"{stack.issuer}/token", data=asked | {"code": one, "code_verifier": secret})

    first = code()
    assert redeem(first, verifier).json()["token_type"] == "Bearer"
    assert redeem(first, verifier).status_code == 400
    assert redeem(code(), uuid4().hex).status_code == 400
    elsewhere = asked | {"redirect_uri": "https://elsewhere.example/board"}
    assert httpx.get(f"{stack.issuer}/authorize", params=elsewhere).status_code == 400
