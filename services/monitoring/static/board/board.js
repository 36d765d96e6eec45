// The board's page: signs in (OIDC, code with PKCE), reads the stream, shows it, and is loud when the stream is lost.
// It holds no data of its own: what it shows is gone with the page.

const DEADLINE_MS = 6000; // the service sends something every two seconds
const CONNECT_MS = 10000;
const RETRY_MS = 1000;
const OLD_MINUTES = 10;
const LOGGED = 200;
const SPOKEN = 5;
const SIGNS = {
  "8480-6": ["Systolic", "mmHg"],
  "8462-4": ["Diastolic", "mmHg"],
  "8867-4": ["Heart rate", "/min"],
  "59408-5": ["SpO2", "%"],
  "9279-1": ["Resp. rate", "/min"],
  "8310-5": ["Temperature", "°C"],
  "19891-1": ["EtCO2", "mmHg"],
  "72514-3": ["Pain", "/10"],
};
const SCALES = { moaas: "MOAA/S", cadss: "CADSS", cadss6: "CADSS-6", aldrete: "Aldrete", padss: "PADSS", symptoms: "symptoms" };
const PHASES = {
  checked_in: "checked in", baseline: "baseline taken", gate_open: "gate open", dosing: "dosing", recovery: "recovery",
};
const DUE = {
  baseline: "baseline", dose_before: "dose, else baseline again", discharge_from: "discharge possible",
};
const DONE = { acknowledge: "acknowledged", attend: "attended", silence: "silenced", escalate: "escalated" };
const PRIORITIES = ["high", "medium", "low"];
const TREND = { up: ["↑", "rising"], down: ["↓", "falling"], steady: ["→", "steady"] };
const $ = (id) => document.getElementById(id);

// State: what the last frames said. Alarms by id with their version, so that an older state never replaces a newer one.
const chairs = new Map();
const seen = new Map();
let token = null;
let clinic = null;
let position = null;
let clinicalNow = null;
let heardAt = 0;
let lostSince = null;
let unrecorded = [];
let stopped = false;
let connection = null;

// Signing in

const base64url = (bytes) => btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));
const redirectUri = () => `${location.origin}/board`;

async function provider() {
  const login = await (await fetch("/board/login.json")).json();
  const known = await (await fetch(`${login.issuer.replace(/\/$/, "")}/.well-known/openid-configuration`)).json();
  return { ...login, ...known };
}

async function signIn() {
  const idp = await provider();
  const verifier = random();
  const state = random();
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
  sessionStorage.setItem("login", JSON.stringify({ verifier, state }));
  const asked = new URLSearchParams({
    response_type: "code", client_id: idp.client_id, redirect_uri: redirectUri(), scope: "openid", state,
    code_challenge: base64url(new Uint8Array(digest)), code_challenge_method: "S256",
  });
  location.assign(`${idp.authorization_endpoint}?${asked}`);
}

async function signedIn(answer) {
  const kept = JSON.parse(sessionStorage.getItem("login") || "null");
  sessionStorage.removeItem("login");
  history.replaceState(null, "", "/board");
  if (!kept || answer.get("state") !== kept.state) return null;
  const idp = await provider();
  const reply = await fetch(idp.token_endpoint, {
    method: "POST",
    body: new URLSearchParams({
      grant_type: "authorization_code", code: answer.get("code"), redirect_uri: redirectUri(),
      client_id: idp.client_id, code_verifier: kept.verifier,
    }),
  });
  return reply.ok ? (await reply.json()).access_token : null;
}

// Of a token with several clinics the board shows one; the service decides whether the token has it.
function chooseClinic() {
  const claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")), (one) => one.charCodeAt(0))));
  const known = Array.isArray(claims.clinics) ? claims.clinics.map(String) : [];
  if (known.length < 2) return;
  const choice = $("clinic");
  choice.replaceChildren(...known.map((name) => new Option(name, name)));
  choice.parentElement.hidden = false;
  clinic = known[0];
  choice.addEventListener("change", () => {
    clinic = choice.value;
    position = null;
    connection?.abort();
  });
}

const asWho = () => ({ Authorization: `Bearer ${token}`, ...(clinic && { "Clinic-Id": clinic }) });

function signedOut(words) {
  token = null;
  $("link").textContent = words;
  $("sign-in").hidden = false;
  $("sign-out").hidden = true;
}

// The stream

async function* frames(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    const parts = rest.split("\n\n");
    rest = parts.pop();
    yield* parts.map(parse);
  }
}

function parse(text) {
  const frame = { event: "message", data: "", id: null };
  for (const line of text.split("\n")) {
    const cut = line.indexOf(": ");
    if (cut > 0) frame[line.slice(0, cut)] = line.slice(cut + 2);
  }
  return frame;
}

// Whether the service does not admit us any more: said once, loudly, with the way back in.
function ended(reply) {
  if (![401, 403, 404].includes(reply.status)) return false;
  lose("Signed out");
  signedOut(reply.status === 401 ? "Your sign-in has ended" : "Your role does not admit the board");
  return true;
}

async function readOnce() {
  const headers = { ...asWho(), Accept: "text/event-stream" };
  if (position) headers["Last-Event-ID"] = position;
  connection = new AbortController();
  const opening = setTimeout(() => connection.abort(), CONNECT_MS);
  try {
    const reply = await fetch("/v1/board/stream", { headers, signal: connection.signal, cache: "no-store" });
    if (ended(reply)) return;
    if (!reply.ok) throw new Error("refused");
    clearTimeout(opening);
    for await (const frame of frames(reply.body)) take(frame);
  } finally {
    clearTimeout(opening);
  }
}

async function read() {
  while (token && !stopped) {
    try {
      await readOnce();
    } catch (error) {
      lose("The connection is lost");
    }
    await new Promise((go) => setTimeout(go, RETRY_MS * (0.5 + Math.random())));
  }
}

function take(frame) {
  heardAt = performance.now();
  if (!frame.data) return;
  const data = JSON.parse(frame.data);
  if (data.at) clinicalNow = Date.parse(data.at);
  const handle = { snapshot, values, alarm, chair, gone, beat }[frame.event];
  if (handle) handle(data);
  if (frame.id) position = frame.id;
}

function snapshot(data) {
  const before = [...chairs.keys()];
  chairs.clear();
  for (const one of data.chairs) {
    chairs.set(one.session_id, { ...one, alarms: new Map(one.alarms.map((alarm) => [alarm.id, alarm])) });
  }
  note(data.chairs.flatMap((one) => one.alarms).filter((alarm) => !seen.has(alarm.id)));
  for (const id of before) if (!chairs.has(id)) document.getElementById(`chair-${id}`)?.remove();
  if (data.missed) log("Alarms may have come and gone while the board was not connected: look at the sessions.", null);
  found();
  beat(data);
}

function values(data) {
  for (const [id, signs] of Object.entries(data.values)) {
    const known = chairs.get(id);
    if (known) Object.assign(known.signs, signs); // null where no value stands any more
  }
  for (const [id, due] of Object.entries(data.due ?? {})) {
    const known = chairs.get(id);
    if (known) known.due = due;
  }
  draw();
}

function alarm(data) {
  const known = chairs.get(data.session_id);
  if (known) {
    const before = known.alarms.get(data.id);
    if (!before || before.version <= data.version) {
      if (data.open) known.alarms.set(data.id, data);
      else known.alarms.delete(data.id);
    }
  }
  note([data]);
  draw();
}

function chair(data) {
  const known = chairs.get(data.session_id);
  if (known && known.version > data.version) return;
  chairs.set(data.session_id, { ...data, alarms: new Map(data.alarms.map((one) => [one.id, one])) });
  draw();
}

function gone(data) {
  chairs.delete(data.session_id);
  document.getElementById(`chair-${data.session_id}`)?.remove();
  draw();
}

function beat(data) {
  unrecorded = data.unrecorded;
  banner("store", data.store === "gone" ? "The store does not answer: nothing new is recorded. Look at the monitors." : "");
  banner("unrecorded", unrecorded.map((one) => `NOT RECORDED: ${place(one.session_id)} ${words(one.rule)} (${one.priority})`).join(" · "));
  draw(); // without a new value too: minutes pass, and what was measured grows old
}

// Being loud

function lose(why) {
  if (lostSince === null) {
    lostSince = Date.now();
    set($("link"), "Not connected");
    document.body.classList.add("stale");
    banner("lost", `${why}: this board shows nothing new. Look at the monitors.`);
  }
  set($("lost-for"), `${Math.round((Date.now() - lostSince) / 1000)} s`); // not read aloud: a voice says it once
}

function found() {
  lostSince = null;
  set($("link"), "Connected");
  set($("lost-for"), "");
  document.body.classList.remove("stale");
  banner("lost", "");
}

function banner(id, text) {
  set($(id), text);
  $(id).hidden = !text;
}

setInterval(() => {
  if (!token && lostSince === null) return;
  if (lostSince !== null) lose("");
  else if (performance.now() - heardAt > DEADLINE_MS) {
    lose("The stream is silent");
    connection?.abort();
  }
}, 500);

// Sound. A browser lets a page be heard only after somebody has touched it: until then the page says so.

let audio = null;

function tone(pitch, seconds) {
  const wave = audio.createOscillator();
  const volume = audio.createGain();
  wave.frequency.value = pitch;
  volume.gain.value = 0.25;
  wave.connect(volume).connect(audio.destination);
  wave.start();
  wave.stop(audio.currentTime + seconds);
}

function sounding() {
  if (lostSince !== null || unrecorded.length) return "lost"; // nothing mutes this
  const open = [...chairs.values()].flatMap((one) => [...one.alarms.values()]);
  const heard = open.filter((one) => !one.acknowledged_at && !(one.silenced_until && Date.parse(one.silenced_until) > clinicalNow));
  return ["high", "medium"].find((priority) => heard.some((one) => one.priority === priority)) || "";
}

setInterval(() => {
  const why = sounding();
  document.body.dataset.sounding = why;
  if (!audio || audio.state !== "running" || !why) return;
  if (why === "medium") tone(520, 0.2);
  else for (const pause of [0, 250, 500]) setTimeout(() => tone(why === "high" ? 960 : 700, 0.15), pause);
}, 1500);

function switchSound() {
  audio = audio || new AudioContext();
  const on = audio.state !== "running" || $("sound").getAttribute("aria-pressed") === "false";
  (on ? audio.resume() : audio.suspend()).then(() => {
    $("sound").setAttribute("aria-pressed", String(on));
    $("sound").textContent = on ? "Sound is on" : "Sound is off: switch it on";
    if (on) tone(700, 0.1);
  });
}

// Showing. Elements are kept and changed, never made anew, so that neither focus nor a reading voice is lost.

const words = (code) => String(code).replace(/^signal:/, "no signal from ").replaceAll("_", " ");
const time = (at) => at.slice(11, 16);

function place(id) {
  const known = chairs.get(id);
  return known ? `${known.label ?? "-"}, ${known.room} chair ${known.chair}` : "a chair";
}

function say(alarmShown) {
  const sign = SIGNS[alarmShown.sign];
  const value = sign && alarmShown.value !== undefined ? ` ${sign[0]} ${alarmShown.value} ${sign[1]}` : "";
  return `${alarmShown.priority}: ${words(alarmShown.rule)}${value}`;
}

// Written down in their order; spoken the worst first, for a voice may be interrupted.
function note(changes) {
  const fresh = changes.filter((one) => (seen.get(one.id) ?? 0) < one.version);
  for (const one of fresh) {
    seen.set(one.id, one.version);
    log(`${place(one.session_id)}: ${one.transition} ${say(one)}`, one);
  }
  const told = fresh.filter((one) => ["raised", "renewed", "escalated"].includes(one.transition));
  told.sort((a, b) => PRIORITIES.indexOf(a.priority) - PRIORITIES.indexOf(b.priority));
  const texts = told.slice(0, SPOKEN).map((one) => `Alarm ${one.priority}, ${place(one.session_id)}, ${say(one)}`);
  if (told.length > SPOKEN) texts.push(`and ${told.length - SPOKEN} more`);
  if (texts.length) $("spoken").textContent = texts.join(". ");
}

function log(text, data) {
  const line = document.createElement("li");
  line.textContent = text;
  if (data) Object.assign(line.dataset, { alarm: data.id, transition: data.transition });
  $("log").prepend(line);
  while ($("log").children.length > LOGGED) $("log").lastChild.remove();
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function draw() {
  const order = [...chairs.values()].sort((a, b) => `${a.room} ${a.chair}`.localeCompare(`${b.room} ${b.chair}`, "en", { numeric: true }));
  order.forEach((one, number) => {
    let box = document.getElementById(`chair-${one.session_id}`);
    if (!box) {
      box = $("chair").content.firstElementChild.cloneNode(true);
      box.id = `chair-${one.session_id}`;
    }
    if ($("chairs").children[number] !== box) $("chairs").insertBefore(box, $("chairs").children[number] ?? null);
    drawChair(box, one);
  });
  $("empty").hidden = order.length > 0 || !token;
  drawAlarmed(order);
  drawClock();
}

const counted = (alarms) => Object.fromEntries(PRIORITIES.map((priority) => [priority, alarms.filter((one) => one.priority === priority).length]));

function inWords(counts) {
  return PRIORITIES.filter((priority) => counts[priority]).map((priority) => `${counts[priority]} ${priority}`).join(", ") || "no alarm";
}

// Which chairs have an alarm, above all of them: on a full ward one may lie below the screen's edge.
function drawAlarmed(order) {
  const alarmed = order.map((one) => [one, counted([...one.alarms.values(), ...unrecorded.filter((item) => item.session_id === one.session_id)])])
    .filter(([, counts]) => counts.high || counts.medium);
  const list = $("alarmed");
  const wanted = alarmed.map(([one, counts]) => ({ id: one.session_id, text: `${place(one.session_id)}: ${inWords(counts)}` }));
  const shown = [...list.querySelectorAll("a")].map((link) => ({ id: link.dataset.session, text: link.textContent }));
  list.parentElement.hidden = !wanted.length;
  if (JSON.stringify(wanted) === JSON.stringify(shown)) return;
  list.replaceChildren(...wanted.map(({ id, text }) => {
    const line = document.createElement("li");
    const link = document.createElement("a");
    link.href = `#chair-${id}`;
    link.dataset.session = id;
    link.textContent = text;
    line.append(link);
    return line;
  }));
}

function drawChair(box, one) {
  const alarms = [...one.alarms.values()];
  const only = unrecorded.filter((item) => item.session_id === one.session_id);
  const counts = counted([...alarms, ...only]);
  const worst = PRIORITIES.find((priority) => counts[priority]);
  box.dataset.colour = { high: "red", medium: "yellow", low: "cyan" }[worst] ?? "none";
  const head = `${one.label ?? "-"}, room ${one.room}, chair ${one.chair}`;
  box.setAttribute("aria-label", `${head}, ${inWords(counts)}`);
  set(box.querySelector(".label"), one.label ?? "-");
  set(box.querySelector(".count"), inWords(counts));
  const since = one.dosed_at && clinicalNow ? `, ${Math.max(0, Math.floor((clinicalNow - Date.parse(one.dosed_at)) / 60000))} min since dose` : "";
  set(box.querySelector(".where"), `${one.room} · chair ${one.chair} · ${PHASES[one.phase] ?? one.phase}${one.aborted ? " (aborted)" : ""}${since}`);
  set(box.querySelector(".due"), one.due ? `Next: ${dueWords(one.due)} ${one.due.at ? `at ${time(one.due.at)}` : "now"}` : "");
  const unknown = box.querySelector(".unrecorded");
  set(unknown, only.map((item) => `NOT RECORDED: ${words(item.rule)} (${item.priority})`).join(", "));
  unknown.hidden = !only.length;
  drawSigns(box.querySelector(".signs"), one.signs);
  drawAlarms(box.querySelector(".alarms"), alarms, one);
}

function dueWords(due) {
  if (due.code !== "measure") return DUE[due.code] ?? words(due.code);
  return due.signs.includes("8480-6") ? "blood pressure" : due.signs.map((sign) => SIGNS[sign]?.[0] ?? SCALES[sign] ?? words(sign)).join(", ");
}

function drawSigns(list, signs) {
  for (const [code, [name, unit]] of Object.entries(SIGNS)) {
    let cell = list.querySelector(`[data-sign="${code}"]`);
    if (!signs[code]) {
      cell?.remove();
      continue;
    }
    if (!cell) {
      cell = document.createElement("div");
      cell.dataset.sign = code;
      cell.append(document.createElement("dt"), document.createElement("dd"));
      cell.querySelector("dt").textContent = `${name}, ${unit}`;
      list.append(cell);
    }
    const shown = signs[code];
    const [arrow, spoken] = TREND[shown.trend] ?? ["", ""];
    const old = clinicalNow - Date.parse(shown.at) > OLD_MINUTES * 60000;
    set(cell.querySelector("dd"), `${shown.value} ${old ? `of ${time(shown.at)}` : arrow}`.trim());
    cell.querySelector("dd").setAttribute("aria-label", `${shown.value} ${unit} ${old ? "" : spoken}, measured ${time(shown.at)}`);
    cell.classList.toggle("old", old);
    cell.title = `measured ${time(shown.at)}`;
  }
}

function drawAlarms(list, alarms, one) {
  const open = new Set(alarms.map((item) => item.id));
  for (const line of [...list.children]) if (!open.has(line.dataset.alarm)) line.remove();
  for (const item of alarms) {
    let line = list.querySelector(`[data-alarm="${item.id}"]`);
    if (!line) {
      line = document.createElement("li");
      line.dataset.alarm = item.id;
      line.append(document.createElement("span"), ask(item, "acknowledge", "Acknowledge"), ask(item, "attend", "At bedside"), ask(item, "escalate", "Call for help"), ask(item, "silence", "Mute 2 min"));
      list.append(line);
    }
    line.className = item.priority;
    const accepted = item.acknowledged_at ? `, accepted ${time(item.acknowledged_at)}` : "";
    const step = item.escalation_step ? `, paging step ${item.escalation_step}` : "";
    set(line.querySelector("span"), `${say(item)} since ${time(item.raised_at)}${accepted}${step}`);
    line.querySelector("[data-verb=acknowledge]").hidden = Boolean(item.acknowledged_at);
    line.querySelector("[data-verb=attend]").hidden = !item.acknowledged_at || Boolean(item.attended_at);
    const calledSince = item.escalated_at && !item.acknowledged_at && !(item.renewed_at > item.escalated_at);
    line.querySelector("[data-verb=escalate]").hidden = Boolean(calledSince); // after an answer it is a call of its own
    for (const button of line.querySelectorAll("button")) {
      button.setAttribute("aria-label", `${button.textContent}: ${say(item)}, ${one.label ?? "-"}, chair ${one.chair}`);
    }
  }
}

function ask(item, verb, text) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text;
  button.dataset.verb = verb;
  button.addEventListener("click", () => act(item.id, verb, button));
  return button;
}

async function act(id, verb, button) {
  const body = verb === "silence" ? JSON.stringify({ seconds: 120 }) : undefined;
  const focused = document.activeElement === button;
  button.disabled = true;
  try {
    const headers = { ...asWho(), "Content-Type": "application/json" };
    const reply = await fetch(`/v1/alarms/${id}/${verb}`, { method: "POST", headers, body, signal: AbortSignal.timeout(CONNECT_MS) });
    if (reply.status === 401) ended(reply);
    if (!reply.ok) throw new Error("refused");
    const version = Number(reply.headers.get("ETag").replace(/\D/g, ""));
    alarm({ ...(await reply.json()), version, transition: DONE[verb] });
    if (focused) (button.parentElement?.querySelector("button:not([hidden]):not(:disabled)") ?? button.closest(".chair"))?.focus();
  } catch (error) {
    log(`${button.textContent} was NOT accepted: try again, or call.`, null);
    $("spoken").textContent = `${button.textContent} was not accepted. Try again.`;
  } finally {
    button.disabled = false;
  }
}

function drawClock() {
  if (clinicalNow) set($("clock"), `${new Date(clinicalNow).toISOString().slice(11, 19)} UTC`);
}

// Beginning

async function begin() {
  $("sound").addEventListener("click", switchSound);
  $("sign-in").addEventListener("click", () => signIn().catch(() => signedOut("Signing in failed: try again")));
  $("sign-out").addEventListener("click", () => { stopped = true; location.assign("/board"); });
  const answer = new URLSearchParams(location.search);
  if (answer.has("code")) token = await signedIn(answer).catch(() => null);
  if (!token) {
    signedOut(answer.has("code") || answer.has("error") ? "Signing in failed: try again" : "Not signed in");
    return;
  }
  $("sign-out").hidden = false;
  chooseClinic();
  $("link").textContent = "Connecting";
  heardAt = performance.now();
  read();
}

begin();
