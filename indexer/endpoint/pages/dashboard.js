"use strict";
/* The page of `/`. Everything that comes from data goes through textContent: no text becomes markup. */

const HOUR_MS = 3600000, STATUS_EVERY_MS = 2000, HISTORY_EVERY_MS = 5000;
const $ = id => document.getElementById(id);
const state = {status: null, collection: null, windows: [], buttons: new Map(), lanes: new Map(), shown: null, range: "ttl",
  columns: [], samples: [], limits: {}, textField: null, chosen: new Map(), windowRange: null, like: null, asked: 0, keyWanted: null};

/* Elements and words. */

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function draw(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function say(element, text) { if (element.textContent !== text) element.textContent = text; }

const known = value => value !== null && value !== undefined && !Number.isNaN(value);
const count = n => known(n) ? Math.round(n).toLocaleString() : "-";
const plural = (n, noun) => `${count(n)} ${noun}${n === 1 ? "" : "s"}`;
function rate(n) { return !known(n) ? "-" : n === 0 || n >= 100 ? count(n) : n >= 10 ? n.toFixed(1) : n.toFixed(2); }
function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let i = 0;
  if (!known(n)) return "-";
  while (n >= 1024 && i < units.length - 1) { n /= 1024; i++; }
  return `${i && n < 100 ? n.toFixed(1) : Math.round(n)} ${units[i]}`;
}
function seconds(n) {
  if (!known(n)) return "-";
  if (n < 0.001) return `${(n * 1e6).toFixed(0)} µs`;
  if (n < 1) return `${(n * 1000).toPrecision(2) * 1} ms`;
  return n < 120 ? `${n.toPrecision(3) * 1} s` : span(n * 1000);
}
function span(ms) {
  const minutes = Math.floor(ms / 60000);
  if (ms < 60000) return `${Math.max(0, Math.floor(ms / 1000))} s`;
  if (minutes < 120) return `${minutes} min`;
  if (minutes < 2880) return `${Math.floor(minutes / 60)} h${minutes % 60 ? ` ${minutes % 60} min` : ""}`;
  return `${Math.floor(minutes / 1440)} days`;
}
const clock = ms => new Date(ms).toLocaleTimeString([], {hour: "2-digit", minute: "2-digit"});
const day = ms => new Date(ms).toLocaleDateString([], {day: "numeric", month: "short"});
function when(ms) {
  if (!known(ms)) return "none yet";
  const year = new Date(ms).getFullYear() === new Date().getFullYear() ? undefined : "numeric";
  return `${new Date(ms).toLocaleDateString([], {year, month: "short", day: "numeric"})}, ${clock(ms)}`;
}
const ago = ms => ms > Date.now() + 1000 ? `in ${span(ms - Date.now())}` : `${span(Date.now() - ms)} ago`;

/* The service. */

function askKey(why) {
  if (state.keyWanted) return state.keyWanted;
  if (why) say($("key-why"), why);
  state.keyWanted = new Promise(resolve => {
    const done = () => { $("key").removeEventListener("close", done); state.keyWanted = null; resolve(); };
    $("key").addEventListener("close", done);
    $("key").showModal();
    $("key-input").focus();
  });
  return state.keyWanted;
}

/* JavaScript's numbers round integers beyond 2^53, and ids go up to 2^64 - 1: in points those become BigInt.
 * JSON has no form for BigInt, so they pass through it as texts behind a mark that no data can know. */
const MARK = `${Math.random().toString(36).slice(2)}:`;
const exactInteger = text => Number.isSafeInteger(Number(text)) ? Number(text) : BigInt(text);

function readExact(text) {
  const marked = text.replace(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g, token => /^-?\d{16,}$/.test(token) && !Number.isSafeInteger(Number(token)) ? `"${MARK}${token}"` : token);
  return JSON.parse(marked, (_, value) => typeof value === "string" && value.startsWith(MARK) ? BigInt(value.slice(MARK.length)) : value);
}

function writeExact(value, indent) {
  const text = JSON.stringify(value, (_, part) => typeof part === "bigint" ? `${MARK}${part}` : part, indent);
  return text?.replace(new RegExp(`"${MARK}(-?\\d+)"`, "g"), "$1");
}

async function api(path, body, read = JSON.parse) {
  for (let attempt = 0; ; attempt++) {
    const key = sessionStorage.getItem("api-key");
    const headers = key ? {"api-key": key} : {};
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const reply = await fetch(path, {method: body === undefined ? "GET" : "POST", headers, cache: "no-store",
      body: body === undefined ? undefined : writeExact(body)});
    if ((reply.status === 401 || reply.status === 403) && attempt < 3) {
      if (sessionStorage.getItem("api-key") === key) await askKey(key ? "The service refused that key." : null);
      continue;
    }
    const answer = await reply.text().then(read).catch(() => null);
    if (!reply.ok) throw Object.assign(new Error(answer?.status?.error ?? `${path} answered ${reply.status}`), {status: reply.status});
    return answer;
  }
}

const points = (path, body) => api(`/collections/${encodeURIComponent(state.collection.name)}${path}`, body, readExact);

/* Facts and numbers. */

function facts(entries) {
  return make("dl", {class: "facts"}, ...entries.filter(([, value]) => known(value) && value !== "").map(([name, value, wide]) =>
    make("div", wide ? {class: "wide"} : {}, make("dt", {}, name), make("dd", {}, value instanceof Node ? value : String(value)))));
}

function newest(column) {
  const place = state.columns.indexOf(column);
  return place < 0 || state.samples.length === 0 ? null : state.samples[state.samples.length - 1][place];
}

/* The last value of a column that is null where nothing happened. */
function latest(column) {
  const place = state.columns.indexOf(column);
  for (let i = state.samples.length - 1; place >= 0 && i >= 0; i--) if (state.samples[i][place] !== null) return state.samples[i][place];
  return null;
}

function drawNumbers() {
  const shards = state.collection?.shards ?? [];
  const lags = shards.map(shard => shard.lag_records);
  const lag = lags.some(n => !known(n) || n < 0) ? null : lags.reduce((sum, n) => sum + n, 0);
  const tiles = [
    [count(state.windows.reduce((sum, w) => sum + w.rows, 0)), "points"],
    [rate(newest("records_per_s")), "records a second"],
    [seconds(latest("freshness_p99_s")), "freshness, p99"],
    [lag === null ? "-" : count(lag), "records behind Kafka"],
    [rate(newest("searches_per_s")), "searches a second"],
    [seconds(latest("search_p99_s")), "search time, p99"],
    [bytes(shards.reduce((sum, shard) => sum + shard.total_bytes, 0)), "on disk"],
  ];
  const box = $("numbers");
  while (box.children.length < tiles.length) box.append(make("div", {}, make("b"), make("span")));
  tiles.forEach(([value, name], i) => { say(box.children[i].children[0], value); say(box.children[i].children[1], name); });
}

/* The timeline. */

function timeRange(now) {
  const ttl = state.collection.ttl_ms;
  const first = Math.min(now - 60000, ...state.windows.map(w => w.start_ms));
  const from = state.range === "ttl" && ttl > 0 ? Math.min(now - ttl, first) : first;
  return {from, to: now, edge: ttl > 0 ? now - ttl : null, now};
}

function tickTimes(range, most) {
  const minute = 60000, steps = [1, 5, 15, 30, 60, 180, 360, 720, 1440, 2880, 10080, 43200, 129600, 525600].map(n => n * minute);
  const step = steps.find(s => (range.to - range.from) / s <= most) ?? steps[steps.length - 1];
  const zone = new Date(range.now).getTimezoneOffset() * minute, times = [];
  for (let t = Math.ceil((range.from - zone) / step) * step + zone; t <= range.to; t += step) times.push({t, daily: step >= 1440 * minute});
  return times;
}

/* A button is at least 3px wide and a tick is a border of 1px: neither may stand out at the right, where a window has
 * just begun. */
function place(element, range, from, to) {
  const width = range.to - range.from, least = to === undefined ? '1px' : '3px';
  element.style.left = `min(${100 * (from - range.from) / width}%, 100% - ${least})`;
  if (to !== undefined) element.style.width = `calc(${100 * (to - from) / width}% - 1px)`;
}

const blocked = w => Boolean(w.drop_blocked_by);
function kindOf(w) { return w.segment ? w.segment.kind : w.state === "open" ? "scanned, open" : "scanned"; }
function windowLabel(w) {
  return `${when(w.start_ms)} to ${clock(w.end_ms)}, shard ${w.shard}: ${w.state}, ${plural(w.rows, "row")}, ${bytes(w.bytes)}, ${kindOf(w)}` +
    (known(w.segment?.recall) ? `, recall ${w.segment.recall.toFixed(3)}` : "") + (blocked(w) ? `, drop blocked: ${w.drop_blocked_by}` : "");
}

function showWindow(w) {
  state.shown = w.key;
  for (const [key, button] of state.buttons) button.toggleAttribute("data-shown", key === w.key);
  for (const [key, button] of state.buttons) if (key === w.key) button.setAttribute("aria-current", "true"); else button.removeAttribute("aria-current");
  const ttl = state.collection.ttl_ms;
  const box = facts([
    ["Window", `${when(w.start_ms)} to ${clock(w.end_ms)}`], ["Shard", w.shard], ["Node", w.node], ["State", w.state],
    ["Rows", count(w.rows) + (w.dead_rows ? `, and ${count(w.dead_rows)} dead` : "")], ["Bytes", bytes(w.bytes)],
    ["Index", w.segment ? `${w.segment.kind}, ${bytes(w.segment.bytes)}` : "none: scanned"],
    ["Recall", w.segment ? known(w.segment.recall) ? w.segment.recall.toFixed(4) : "not measured" : null],
    ["Vectors", w.storage ? w.storage.type + (w.storage.type === "float32" ? w.storage.refused ? `, ${w.storage.refused} refused` : "" : `, keeps recall ${w.storage.recall.toFixed(4)}`) : null],
    ["Generation", w.generation || null], ["Chunks", w.chunks ? `${w.chunks}, ${w.chunk_segments} with a segment` : null],
    ["Spans", (w.span || []).map((s) => `${s.kind} over ${s.windows} windows, ${s.rows} rows, ${Math.round(s.live * 100)} % live`).join("; ") || null],
    ["Expires", ttl > 0 ? ago(w.end_ms + ttl) : "never"], ["Why this index", w.reason, true],
    ["Drop blocked by", blocked(w) ? make("span", {class: "bad"}, w.drop_blocked_by) : null, true],
  ]);
  box.append(make("div", {class: "wide"}, make("button", {type: "button", class: "quiet", onclick: () => searchWindow(w)}, "Search in this window")));
  /* Focus must not be lost to a refresh. */
  const within = $("window").contains(document.activeElement);
  if ($("window").dataset.text === box.textContent + w.key) return;
  $("window").replaceChildren(box);
  $("window").dataset.text = box.textContent + w.key;
  if (within) $("window").querySelector("button").focus();
}

function moveInTimeline(event, button) {
  const all = [...state.buttons.values()].sort((a, b) => a.window.start_ms - b.window.start_ms || a.lane - b.lane);
  const steps = {ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity};
  let next = null;
  if (event.key in steps) {
    const lane = all.filter(other => other.lane === button.lane);
    next = lane[Math.min(lane.length - 1, Math.max(0, lane.indexOf(button) + steps[event.key]))];
  } else if (event.key === "ArrowUp" || event.key === "ArrowDown") {
    const lane = button.lane + (event.key === "ArrowUp" ? -1 : 1);
    next = all.filter(other => other.lane === lane).sort((a, b) => Math.abs(a.window.start_ms - button.window.start_ms) - Math.abs(b.window.start_ms - button.window.start_ms))[0];
  }
  if (!next) return;
  event.preventDefault();
  for (const other of all) other.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

function windowButton(w) {
  let button = state.buttons.get(w.key);
  if (!button) {
    button = make("button", {type: "button", tabindex: "-1"});
    for (const name of ["pointerenter", "focus", "click"]) button.addEventListener(name, () => showWindow(button.window));
    button.addEventListener("keydown", event => moveInTimeline(event, button));
    state.buttons.set(w.key, button);
  }
  button.window = w;
  button.className = `${w.state} ${w.segment?.kind ?? ""}${blocked(w) ? " blocked" : ""}`;
  const label = windowLabel(w);
  if (button.getAttribute("aria-label") !== label) button.setAttribute("aria-label", label);
  return button;
}

function laneOf(name, number, small) {
  let lane = state.lanes.get(name);
  if (!lane) {
    lane = make("div", {}, make("span", {class: "lane-name"}, `shard ${name}`));
    lane.marks = [];
    state.lanes.set(name, lane);
    $("timeline").insertBefore(lane, $("timeline").querySelector(".axis"));
  }
  lane.className = small ? "lane small" : "lane";
  lane.number = number;
  return lane;
}

function drawMarks(lane, range, ticks) {
  const marks = ticks.map(({t}) => ["tick", t]).concat([["tick now", range.now]], range.edge >= range.from && range.edge !== null ? [["tick edge", range.edge]] : []);
  lane.marks.forEach(mark => mark.remove());
  lane.marks = marks.map(([name, t]) => { const mark = make("div", {class: name}); place(mark, range, t); return mark; });
  lane.prepend(...lane.marks);
}

function drawAxis(range, ticks) {
  const axis = $("timeline").querySelector(".axis") ?? $("timeline").appendChild(make("div", {class: "axis"}));
  const width = axis.clientWidth || 600, x = t => width * (t - range.from) / (range.to - range.from), labels = [];
  const edge = range.edge !== null && range.edge >= range.from;
  const first = make("span", {class: "first"}, edge ? `TTL edge\n${when(range.edge)}` : `${day(range.from)}\n${clock(range.from)}`);
  const last = make("span", {class: "last"}, `now\n${clock(range.now)}`);
  place(first, range, range.from);
  place(last, range, range.to);
  for (const {t, daily} of ticks) {
    if (x(t) < 130 || x(t) > width - 75) continue;
    const midnight = new Date(t).getHours() === 0 && new Date(t).getMinutes() === 0;
    const label = make("span", {}, daily || midnight ? day(t) : clock(t));
    place(label, range, t);
    labels.push(label);
  }
  axis.replaceChildren(first, ...labels, last);
}

function drawTimeline() {
  if (!state.collection) return;
  const range = timeRange(state.status.clock?.wall_ms ?? Date.now());
  const shards = [...new Set(state.windows.map(w => w.shard))].sort((a, b) => a.localeCompare(b, undefined, {numeric: true}));
  const box = $("timeline"), most = Math.max(1, ...state.windows.map(w => w.rows));
  if (state.windows.length === 0) {
    state.buttons.clear(); state.lanes.clear();
    box.replaceChildren(make("p", {class: "muted"}, "No windows yet: nothing has been read from Kafka."));
    return;
  }
  const fresh = !box.querySelector(".axis"), length = state.collection.window_ms || HOUR_MS;
  if (fresh) box.replaceChildren(make("div", {class: "axis"}));
  /* A window is wide enough for a finger; what does not fit is scrolled to, beginning at now. */
  const wide = `${Math.min(3000, Math.round(14 * (range.to - range.from) / length) + 90)}px`;
  if (box.style.minWidth !== wide) { box.style.minWidth = wide; box.parentNode.scrollLeft = box.scrollWidth; }
  box.classList.toggle("single", shards.length === 1);
  const ticks = tickTimes(range, Math.max(3, box.clientWidth / 95));
  for (const [name, lane] of state.lanes) if (!shards.includes(name)) { lane.remove(); state.lanes.delete(name); }
  shards.forEach((name, number) => drawMarks(laneOf(name, number, shards.length > 4), range, ticks));
  const keys = new Set(state.windows.map(w => w.key));
  for (const [key, button] of state.buttons) if (!keys.has(key)) { button.remove(); state.buttons.delete(key); }
  for (const w of state.windows) {
    const button = windowButton(w), lane = state.lanes.get(w.shard);
    const end = w.end_ms > w.start_ms ? w.end_ms : range.to;
    const start = Math.min(Math.max(w.start_ms, range.from), range.to);
    place(button, range, start, Math.max(Math.min(end, range.to), start));
    button.style.height = `${Math.max(10, 94 * Math.sqrt(w.rows / most))}%`;
    button.lane = lane.number;
    if (button.parentNode !== lane) lane.append(button);
  }
  drawAxis(range, ticks);
  const all = [...state.buttons.values()];
  if (!all.some(button => button.tabIndex === 0)) all[all.length - 1].tabIndex = 0;
  const shown = state.windows.find(w => w.key === state.shown);
  if (shown) showWindow(shown);
  const by = name => state.windows.filter(w => w.state === name).length;
  say($("windows-summary"), `${state.windows.length} of ${span(state.collection.window_ms)}: ${["open", "sealing", "sealed", "indexed"].filter(by).map(name => `${by(name)} ${name}`).join(", ")}` +
    (state.collection.ttl_ms > 0 ? `; kept ${span(state.collection.ttl_ms)}` : "; kept for ever"));
}

/* Shards, nodes, dead letters. */

function shardState(shard) {
  const trouble = shard.damage || shard.stopped || shard.waiting;
  return make("td", {class: trouble ? "bad" : shard.topic ? "" : "muted"}, trouble || (shard.paused ? "paused" : shard.topic ? "running" : "not assigned"));
}

function drawShards() {
  const {shards, missing} = state.collection;
  say($("missing"), missing && missing.length ? `No live owner: ${missing.join(", ")}` : "");
  $("shards").replaceChildren(...shards.map(shard => make("tr", {},
    make("td", {}, shard.topic ? `${shard.topic}[${shard.partition}]` : shard.shard), make("td", {}, shard.node),
    make("td", {class: "n"}, count(shard.next_offset)), make("td", {class: "n"}, known(shard.lag_records) && shard.lag_records >= 0 ? count(shard.lag_records) : "unknown"),
    make("td", {}, known(shard.watermark_ms) ? `${when(shard.watermark_ms)} (${ago(shard.watermark_ms)})` : "none yet"),
    make("td", {class: "n"}, bytes(shard.total_bytes)), make("td", {class: "n"}, bytes(shard.memtable_bytes)), shardState(shard))));
}

async function drawNodes() {
  if (!state.status.cluster) return;
  const cluster = (await api("/cluster")).result;
  const sets = new Map();
  for (const node of cluster.nodes) sets.set(node.replica_set ?? "", [...(sets.get(node.replica_set ?? "") ?? []), node]);
  $("nodes-section").hidden = false;
  say($("nodes-summary"), `cluster ${cluster.name}: ${plural(cluster.nodes.filter(node => !node.silent).length, "node")}${cluster.connected ? "" : ", NATS DOES NOT ANSWER"}`);
  $("nodes").replaceChildren(...[...sets].sort().flatMap(([set, nodes]) => nodes.map(node => make("div", {class: "panel"},
    make("h3", {}, `${node.node}${node.self ? " (this page)" : ""}${node.silent ? `: silent for ${span(1000 * node.heard_seconds)}` : ""}`),
    facts([["Replica set", set || "none"], ["Address", node.address], ["Roles", (node.roles ?? []).join(", ")], ["Version", node.version],
      ["Shards", (node.shards ?? []).map(shard => `${shard.collection}/${shard.shard} at ${count(shard.next_offset)}${shard.behind_records > 0 ? ` (${count(shard.behind_records)} behind)` : ""}`).join(", ") || "none", true]])))));
}

async function drawLetters() {
  const letters = await api("/dead-letters").catch(problem => { if (problem.status === 404) return null; throw problem; });
  if (!letters) return;
  const open = new Set([...$("letters").querySelectorAll("details[open]")].map(element => element.dataset.place));
  const sum = letters.reasons.reduce((n, reason) => n + reason.count, 0);
  say($("letters-summary"), sum === 0 ? "none since this process started" : `${count(sum)} since this process started${letters.topic ? `, in the topic ${letters.topic}` : ""}`);
  if ($("letters").contains(document.activeElement)) return;
  $("letters").replaceChildren(...letters.reasons.map(reason => make("div", {class: "panel"}, make("h3", {}, `${reason.reason}: ${count(reason.count)}`),
    ...reason.newest.map(letter => {
      const where = `${letter.topic}[${letter.partition}]@${letter.offset}`;
      const details = make("details", {"data-place": where}, make("summary", {}, `${where}, ${ago(letter.time_ms)}: ${letter.text}`), make("pre", {}, letter.value ?? "(no value)"));
      details.open = open.has(where);
      return details;
    }))));
}

/* Charts of the last hour. */

const charts = [
  {title: "Records a second", columns: ["records_per_s"], show: rate},
  {title: "Freshness", columns: ["freshness_p50_s", "freshness_p99_s"], names: ["p50", "p99"], show: seconds},
  {title: "Lag, records", columns: ["lag_records"], show: count},
  {title: "Searches a second", columns: ["searches_per_s"], show: rate},
  {title: "Search time", columns: ["search_p50_s", "search_p99_s"], names: ["p50", "p99"], show: seconds},
  {title: "Builds and merges under way", columns: ["builds", "merges"], names: ["builds", "merges"], show: count, bar: buildBar},
  {title: "Memory", columns: ["resident_bytes", "memtable_bytes"], names: ["process", "memtables"], show: bytes, bar: memoryBar},
  {title: "Disk", columns: ["disk_bytes"], show: bytes, bar: diskBar},
];

function buildBar() {
  const sealed = state.windows.filter(w => w.state === "sealed" || w.state === "indexed");
  const waiting = sealed.filter(w => w.state === "sealed" && (w.reason ?? "").startsWith("no segment yet")).length;
  return {share: sealed.length ? (sealed.length - waiting) / sealed.length : 1, good: true,
    text: waiting ? `${waiting} of ${plural(sealed.length, "sealed window")} wait for a segment` : sealed.length ? "no sealed window waits for a segment" : "no window is sealed yet"};
}
function drawBuilds() {
  const builds = (state.status.workers?.builds ?? []).map(build => ({...build, what: "index"}));
  const merges = state.status.collections.flatMap(({name, shards}) => shards.flatMap(({shard, windows}) => windows.filter(w => w.merge)
    .map(w => ({...w.merge, what: "merge", collection: name, shard, window_start_ms: w.start_ms}))));
  $("builds").replaceChildren(...[...builds, ...merges].map(work => {
    const part = work.rows_done / work.rows, fill = make("i");
    fill.style.width = `${100 * part}%`;
    const text = `${work.what} of ${work.collection}, shard ${work.shard}, window ${clock(work.window_start_ms)}: ${Math.floor(100 * part)} % of ${count(work.rows)} rows`;
    return make("div", {}, make("p", {}, text), make("div", {class: "bar", role: "progressbar", "aria-label": text, "aria-valuenow": Math.floor(100 * part)}, fill));
  }));
}
function memoryBar() {
  const used = newest("memtable_bytes"), limit = state.limits.memory_bytes;
  return {share: used / limit, text: `memtables: ${bytes(used)} of ${bytes(limit)} (store.memory_max_bytes)`};
}
function diskBar() {
  const used = latest("disk_bytes"), free = latest("disk_free_bytes"), limit = state.limits.disk_bytes ?? used + free;
  return {share: used / limit, text: state.limits.disk_bytes ? `${bytes(used)} of ${bytes(limit)} (max_bytes); ${bytes(free)} free` : `no cap is set; ${bytes(free)} free on the disk`};
}

/* A young process has a few minutes: they fill the charts. */
function chartSpan() { return Math.min(HOUR_MS, Math.max(300000, Date.now() - (state.samples[0]?.[0] ?? 0) + 5000)); }

function makeChart(chart) {
  const svg = draw("svg", {viewBox: "0 0 600 100", preserveAspectRatio: "none", role: "img"});
  chart.parts = {svg, now: make("span"), top: make("p"), from: make("span"), scale: make("span")};
  svg.addEventListener("pointermove", event => {
    const box = svg.getBoundingClientRect();
    chart.at = Date.now() - chartSpan() * (1 - (event.clientX - box.left) / box.width);
    drawChart(chart);
  });
  svg.addEventListener("pointerleave", () => { chart.at = null; drawChart(chart); });
  const box = make("article", {class: "chart"}, make("h3", {}, chart.title, chart.parts.now), chart.parts.top, svg,
    make("div", {class: "ends"}, chart.parts.from, chart.parts.scale, make("span", {}, "now")));
  if (chart.bar) box.append(chart.parts.bar = make("div", {class: "bar"}, make("i")), chart.parts.barText = make("p"));
  $("charts").append(box);
}

function linePath(samples, column, x, y) {
  let path = "", open = false;
  samples.forEach((sample, i) => {
    const value = sample[column];
    if (value === null) { open = false; return; }
    if (open && sample[0] - samples[i - 1][0] > 30000) open = false;
    path += `${open ? "L" : "M"}${x(sample[0]).toFixed(1)} ${y(value).toFixed(2)}${open ? "" : "h.5"}`;
    open = true;
  });
  return path;
}

function drawChart(chart) {
  const now = Date.now(), reach = chartSpan(), {svg} = chart.parts, columns = chart.columns.map(name => state.columns.indexOf(name));
  const samples = state.samples.filter(sample => sample[0] > now - reach);
  if (columns.includes(-1)) return;
  const values = samples.flatMap(sample => columns.map(column => sample[column])).filter(value => value !== null);
  const most = Math.max(...values, 0) || 1;
  const x = t => 600 * (1 - (now - t) / reach), y = value => 97 - 92 * value / most;
  const shown = chart.at ? samples.reduce((best, sample) => !best || Math.abs(sample[0] - chart.at) < Math.abs(best[0] - chart.at) ? sample : best, null) : null;
  const lines = [0, 1, 2].map(i => draw("line", {x1: 0, x2: 600, y1: 5 + 46 * i, y2: 5 + 46 * i}));
  if (shown) lines.push(draw("line", {class: "cursor", x1: x(shown[0]), x2: x(shown[0]), y1: 0, y2: 100}));
  const paths = columns.map((column, i) => draw("path", {class: `s${i}`, d: linePath(samples, column, x, y)}));
  svg.replaceChildren(...lines, ...paths);
  const current = shown ?? samples[samples.length - 1];
  const text = current ? columns.map(column => chart.show(current[column])).join(" / ") : "-";
  say(chart.parts.now, text);
  say(chart.parts.from, `${span(reach)} ago`);
  say(chart.parts.scale, values.length ? `highest ${chart.show(Math.max(...values))}` : "no samples yet");
  const legend = `${(chart.names ?? []).join()}${shown ? shown[0] : ""}`;
  if (chart.legend !== legend) {
    chart.legend = legend;
    chart.parts.top.replaceChildren(...(chart.names ?? []).flatMap((name, i) => [make("i", {class: `s${i}`}), name]), shown ? `${chart.names ? " at " : "at "}${clock(shown[0])}` : "");
  }
  svg.setAttribute("aria-label", `${chart.title}, last hour: now ${text}${values.length ? `, highest ${chart.show(Math.max(...values))}` : ""}`);
  if (chart.bar && samples.length) {
    const {share, text: barText, good} = chart.bar();
    chart.parts.bar.firstChild.style.width = `${100 * Math.min(1, Math.max(0, share || 0))}%`;
    chart.parts.bar.classList.toggle("full", !good && share > 0.9);
    say(chart.parts.barText, barText);
  }
}

async function refreshHistory() {
  const since = state.samples.length ? state.samples[state.samples.length - 1][0] : 0;
  const history = await api(`/history?since_ms=${since}`);
  state.columns = history.columns;
  state.limits = history.limits;
  state.samples = state.samples.concat(history.samples).filter(sample => sample[0] > Date.now() - HOUR_MS);
  say($("hour-node"), state.status?.cluster !== null ? `of node ${history.node}, every ${history.step_ms / 1000} s` : `every ${history.step_ms / 1000} s`);
  charts.forEach(drawChart);
  drawNumbers();
}

/* Search. */

/* How the text is read: as what it looks like. */
function readQuery(text) {
  if (text === "") return {kind: "newest", note: "Newest records first. Type words, an id or a vector."};
  if (text.startsWith("[")) {
    try {
      const vector = JSON.parse(text);
      if (Array.isArray(vector) && vector.every(Number.isFinite)) {
        return vector.length === state.collection.dim ? {kind: "vector", vector, note: `Nearest to a vector of ${vector.length} numbers.`}
          : {kind: "wrong", note: `This vector has ${vector.length} numbers, the collection ${state.collection.dim}.`};
      }
    } catch { /* not finished */ }
    return {kind: "wrong", note: "A vector is a JSON array of numbers."};
  }
  if (/^\d{1,20}$/.test(text) && BigInt(text) < 2n ** 64n) return {kind: "id", id: exactInteger(text), note: `Record ${text}, and what is nearest to it.`};
  const quoted = text.match(/^"(.+)"$/)?.[1], embeds = state.collection.embedder && !quoted, field = state.textField;
  const exact = field ? ` In quotes: records with these very words in ${field}.` : "";
  if (!quoted && !/\s/.test(text)) {
    const otherwise = embeds ? "else what is nearest to it in meaning." : field ? `else records with this word in ${field}.` : "";
    return {kind: "word", id: text, words: text, embeds, note: otherwise ? `Record "${text}" if there is one, ${otherwise}${embeds ? exact : ""}` : `Record "${text}".`};
  }
  if (embeds) return {kind: "meaning", words: text, embeds, note: `What is nearest in meaning.${exact}`};
  return field ? {kind: "words", words: quoted ?? text, note: `Records with all of these words in ${state.textField}, newest first.`}
    : {kind: "wrong", note: "No text field was found in the payloads: search by id or vector."};
}

function filterOf(...more) {
  const must = [...more];
  for (const [key, values] of state.chosen) if (values.size) must.push({key, match: {any: [...values]}});
  const range = $("when").value === "window" ? state.windowRange : $("when").value ? {gte: Date.now() - 1000 * Number($("when").value)} : null;
  if (range) must.push({key: "@time", range: {gte: new Date(range.gte).toISOString(), ...(range.lt ? {lt: new Date(range.lt).toISOString()} : {})}});
  return must.length ? {must} : undefined;
}

/* Values of one field of any type but string, number and boolean cannot be faceted. */
const scalar = value => typeof value === "string" || typeof value === "boolean" || Number.isInteger(value);

async function learnFields() {
  const sample = (await points("/points/scroll", {limit: 40, with_payload: true})).result.points.map(point => point.payload ?? {});
  const lengths = new Map(), values = new Map();
  for (const payload of sample) for (const [key, value] of Object.entries(payload)) {
    if (!/^[\w-]+$/.test(key) || !scalar(value)) continue;
    if (typeof value === "string") lengths.set(key, (lengths.get(key) ?? 0) + value.length);
    values.set(key, [...(values.get(key) ?? []), value]);
  }
  state.textField = [...lengths].sort((a, b) => b[1] - a[1])[0]?.[0] ?? null;
  const fields = [...values].filter(([key, seen]) => (key !== state.textField || seen.every(value => String(value).length < 20)) && new Set(seen).size <= Math.max(2, 0.7 * seen.length))
    .map(([key]) => key).sort();
  $("field").replaceChildren(new Option("no filter", ""), ...fields.map(key => new Option(key, key)));
  say($("reading"), readQuery($("q").value.trim()).note);
}

async function drawValues() {
  const key = $("field").value;
  if (!key) { state.chosen.clear(); $("values").replaceChildren(); return; }
  const chosen = state.chosen.get(key) ?? new Set();
  state.chosen.clear();
  const hits = (await points("/facet", {key, limit: 24, filter: filterOf()})).result.hits;
  state.chosen.set(key, chosen);
  $("values").replaceChildren(...hits.map(hit => make("button", {type: "button", "aria-pressed": String(chosen.has(hit.value)), onclick: event => {
    if (!chosen.delete(hit.value)) chosen.add(hit.value);
    event.currentTarget.setAttribute("aria-pressed", String(chosen.has(hit.value)));
    search();
  }}, `${hit.value} `, make("span", {}, count(hit.count)))));
}

function textOf(payload) {
  const text = state.textField && payload?.[state.textField];
  return typeof text === "string" && text ? text : null;
}

function cardOf(point, scored) {
  const payload = point.payload ?? {}, text = textOf(payload);
  const rest = Object.entries(payload).filter(([key, value]) => !(key === state.textField && text) && value !== null && typeof value !== "object").slice(0, 8);
  const at = point.windrow?.time_ms;
  return make("li", {class: "card"},
    make("p", {class: "meta"}, scored && known(point.score) ? make("span", {class: "score"}, point.score.toFixed(4)) : "", known(at) ? make("span", {title: when(at)}, ago(at)) : "", make("span", {}, `id ${point.id}`)),
    make("p", {class: "text"}, text ?? writeExact(payload)),
    text ? make("p", {class: "meta"}, ...rest.map(([key, value]) => make("span", {}, `${key} `, make("b", {}, String(value))))) : "",
    make("div", {class: "actions"}, make("button", {type: "button", class: "quiet", "aria-label": `More like ${point.id}`, onclick: () => moreLike(point.id)}, "More like this"),
      make("button", {type: "button", class: "quiet", "aria-label": `Open record ${point.id}`, onclick: () => openRecord(point.id)}, "Open")));
}

async function ask(query, limit) {
  const windrow = {place: true};
  const byTime = filter => points("/points/scroll", {limit, filter, with_payload: true, order_by: {key: "@time", direction: "desc"}, windrow});
  const ranked = async near => {
    const answer = await points("/points/query", {query: near, using: state.collection.vector_name, limit, filter: filterOf(), with_payload: true, windrow});
    return {answer, hits: answer.result.points, scored: true};
  };
  const nearest = async id => {
    const own = (await points("/points", {ids: [id], windrow})).result;
    return own.length === 0 ? null : {...await ranked(id), own: own[0]};
  };
  if (query.kind === "vector") return ranked(query.vector);
  if (query.kind === "id" || query.kind === "word") {
    const found = await nearest(query.id);
    if (found) return found;
    if (query.kind === "id" || !(state.textField || query.embeds)) return {hits: [], problem: `There is no record ${query.id}: deleted, expired or never seen.`};
  }
  if (query.embeds) return ranked({text: query.words});
  const answer = await byTime(query.words ? filterOf({key: state.textField, match: {text: query.words}}) : filterOf());
  return {answer, hits: answer.result.points, scored: false};
}

async function search() {
  const query = state.like !== null ? {kind: "id", id: state.like, note: `What is nearest to record ${state.like}.`} : readQuery($("q").value.trim());
  const turn = ++state.asked, limit = Math.min(100, Math.max(1, Number($("limit").value) || 6));
  say($("reading"), query.note);
  if (query.kind === "wrong" || !state.collection) { say($("answered"), query.note); return; }
  $("search-panel").setAttribute("aria-busy", "true");
  try {
    const found = await ask(query, limit);
    if (turn !== state.asked) return; // a newer question is under way
    if (found.problem) { say($("answered"), found.problem); $("answer").replaceChildren(); return; }
    const about = found.answer.windrow ?? {};
    say($("answered"), `${found.hits.length === 0 ? "Nothing matches" : plural(found.hits.length, "record")} in ${seconds(found.answer.time)}` +
      (about.windows ? `; ${about.windows.searched} windows searched, ${about.windows.pruned} pruned, ${about.windows.live} live` : "") +
      (about.partial ? `. NOT COMPLETE${about.missing?.length ? `: ${about.missing.join(", ")} did not answer` : ""}` : ""));
    const cards = found.hits.map(point => cardOf(point, found.scored));
    if (found.own) { const own = cardOf(found.own, false); own.firstChild.prepend(make("span", {class: "score"}, "the record itself")); cards.unshift(own); }
    $("answer").replaceChildren(...cards);
  } catch (problem) {
    if (turn === state.asked) { say($("answered"), problem.message); $("answer").replaceChildren(); }
  } finally {
    if (turn === state.asked) $("search-panel").removeAttribute("aria-busy");
  }
}

function moreLike(id) {
  state.like = id;
  $("q").value = String(id);
  if ($("record").open) $("record").close();
  search().then(() => $("search-panel").focus());
}

function searchWindow(w) {
  const option = $("when").querySelector("option[value=window]");
  state.windowRange = {gte: w.start_ms, lt: w.end_ms};
  option.hidden = false;
  option.textContent = `window ${day(w.start_ms)}, ${clock(w.start_ms)}`;
  $("when").value = "window";
  search().then(() => $("search-panel").scrollIntoView({block: "start"}));
}

async function openRecord(id) {
  const body = $("record-body");
  say($("record-title"), `Record ${id}`);
  body.replaceChildren(make("p", {class: "muted"}, "Reading..."));
  if (!$("record").open) $("record").showModal();
  try {
    const point = (await points("/points", {ids: [id], with_vector: true, windrow: {place: true}})).result[0];
    if (!point) { body.replaceChildren(make("p", {}, "It is not there any more: deleted or expired.")); return; }
    const at = point.windrow, vector = Array.isArray(point.vector) ? point.vector : point.vector[state.collection.vector_name], ttl = state.collection.ttl_ms, shard = state.collection.shards.find(one => one.shard === at.shard);
    const w = state.windows.find(one => one.shard === at.shard && one.start_ms === at.window_start_ms);
    body.replaceChildren(
      make("p", {class: "text"}, textOf(point.payload) ?? ""),
      facts([["Event time", `${when(at.time_ms)} (${ago(at.time_ms)})`], ["Expires", ttl > 0 ? `${ago(at.time_ms + ttl)} at the latest` : "never"],
        ["Position", `${shard?.topic ? `${shard.topic}[${shard.partition}]` : `shard ${at.shard}`} at offset ${at.offset}`], ["Node", shard?.node],
        ["Window", `${when(at.window_start_ms)}${w ? `, ${w.state}, ${kindOf(w)}` : ""}`]]),
      make("pre", {tabindex: "0", "aria-label": "Payload"}, writeExact(point.payload, 2)),
      make("details", {}, make("summary", {}, `Vector of ${vector.length} numbers`), make("pre", {tabindex: "0"}, writeExact(vector))),
      make("div", {class: "row"}, make("button", {type: "button", class: "primary", onclick: () => moreLike(id)}, "More like this")));
  } catch (problem) { body.replaceChildren(make("p", {class: "bad"}, problem.message)); }
}

/* The page. */

function drawHead() {
  const {status} = state, pill = $("ready");
  say($("node"), `${status.cluster ? `${status.cluster} / ` : ""}${status.node}, version ${status.version}, up ${span(1000 * status.uptime_seconds)}`);
  say(pill, status.ready ? "ready" : "not ready");
  pill.className = `pill ${status.ready ? "good" : "bad"}`;
  const stopped = (state.collection?.shards ?? []).filter(shard => shard.stopped || shard.damage).map(shard => `${shard.topic ?? "shard"}[${shard.shard}]: ${shard.stopped || shard.damage}`);
  const scanned = state.windows.filter(w => w.reason?.startsWith("no index: "));
  const refused = status.collections.filter(collection => collection.refused).map(collection => `${collection.name} is refused: ${collection.refused}`);
  const troubles = [status.clock?.advice, status.ready ? null : status.why, ...refused, ...stopped,
    state.collection?.missing?.length ? `Answers are not complete: nobody serves ${state.collection.missing.join(", ")}` : null,
    scanned.length ? `${plural(scanned.length, "window")} of ${state.collection.name} without an index; of the first: ${scanned[0].reason}` : null,
    status.workers && !status.workers.connected ? `The work queue is away: ${status.workers.why}` : null].filter(Boolean);
  $("trouble").hidden = troubles.length === 0;
  say($("trouble"), troubles.join(". "));
}

async function chooseCollection() {
  const names = state.status.collections.map(collection => collection.name), select = $("collection");
  if ([...select.options].map(option => option.value).join() !== names.join()) select.replaceChildren(...names.map(name => new Option(name, name)));
  const before = state.collection?.name;
  state.collection = state.status.collections.find(collection => collection.name === select.value);
  if (!state.collection) return;
  state.windows = state.collection.shards.flatMap(shard => shard.windows.map(w => ({...w, shard: shard.shard, node: shard.node, key: `${shard.shard}/${w.start_ms}`})));
  if (before === state.collection.name && state.fieldsKnown) return;
  if (before !== state.collection.name) { state.chosen.clear(); state.like = null; $("values").replaceChildren(); state.buttons.forEach(button => button.remove()); state.buttons.clear(); }
  state.fieldsKnown = state.windows.some(w => w.rows > 0);
  if (state.fieldsKnown) { await learnFields().catch(() => { state.fieldsKnown = false; }); search(); }
}

async function refresh() {
  try {
    state.status = await api("/status");
    await chooseCollection();
    drawHead();
    if (!state.collection) return;
    drawTimeline();
    drawShards();
    drawBuilds();
    drawNumbers();
    charts.forEach(drawChart);
    await Promise.all([drawNodes(), drawLetters()]);
  } catch (problem) {
    say($("ready"), "no answer");
    $("ready").className = "pill bad";
    $("trouble").hidden = false;
    say($("trouble"), `The service does not answer: ${problem.message}`);
  }
}

/* One after the other, and not in a tab that nobody sees. */
async function forEver(work, everyMs) {
  for (;;) {
    if (!document.hidden) await work().catch(() => {});
    await new Promise(resolve => setTimeout(resolve, everyMs));
  }
}

function setRange(range) {
  state.range = range;
  $("range-ttl").setAttribute("aria-pressed", String(range === "ttl"));
  $("range-data").setAttribute("aria-pressed", String(range === "data"));
  drawTimeline();
}

charts.forEach(makeChart);
$("collection").addEventListener("change", refresh);
$("range-ttl").addEventListener("click", () => setRange("ttl"));
$("range-data").addEventListener("click", () => setRange("data"));
$("q").addEventListener("input", () => { state.like = null; if (state.collection) say($("reading"), readQuery($("q").value.trim()).note); });
$("search").addEventListener("submit", event => { event.preventDefault(); search(); });
$("when").addEventListener("change", () => { search(); drawValues().catch(() => {}); });
$("limit").addEventListener("change", search);
$("field").addEventListener("change", () => { drawValues().then(search, problem => say($("answered"), problem.message)); });
$("record-close").addEventListener("click", () => $("record").close());
$("key-form").addEventListener("submit", event => {
  event.preventDefault();
  sessionStorage.setItem("api-key", $("key-input").value);
  $("key-input").value = "";
  $("key").close();
});
addEventListener("resize", drawTimeline);
forEver(refresh, STATUS_EVERY_MS);
forEver(refreshHistory, HISTORY_EVERY_MS);
