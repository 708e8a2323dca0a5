"use strict";
const $ = id => document.getElementById(id);
const cell = (text, cls) => { const td = document.createElement("td"); td.textContent = text; if (cls) td.className = cls; return td; };
const size = n => { const u = ["B", "KiB", "MiB", "GiB", "TiB"]; let i = 0; while (n >= 1024 && i < 4) { n /= 1024; i++; } return n.toFixed(i ? 1 : 0) + " " + u[i]; };
const time = ms => ms === null ? "none yet" : new Date(ms).toISOString().replace(".000Z", "Z");
const headers = () => { const key = sessionStorage.getItem("api-key"); return key ? {"api-key": key} : {}; };
async function get(path) {
  let reply = await fetch(path, {headers: headers()});
  if (reply.status === 403) { const key = prompt("API key"); if (key) { sessionStorage.setItem("api-key", key); reply = await fetch(path, {headers: headers()}); } }
  if (!reply.ok) throw new Error(path + ": " + reply.status);
  return reply.json();
}
function drawWindows(windows) {
  const most = Math.max(1, ...windows.map(w => w.rows));
  $("timeline").replaceChildren(...windows.map(w => {
    const bar = document.createElement("div");
    bar.className = "window " + w.state;
    bar.style.height = Math.max(3, 100 * w.rows / most) + "%";
    bar.title = `${time(w.start_ms)} to ${time(w.end_ms)}\n${w.state}, ${w.rows} rows, ${size(w.bytes)}` + (w.segment ? `\n${w.segment.kind}, recall ${w.segment.recall ?? "not measured"}` : "");
    return bar;
  }));
  $("summary").textContent = `  ${windows.length} windows, ${windows.reduce((n, w) => n + w.rows, 0)} rows, ${size(windows.reduce((n, w) => n + w.bytes, 0))}`;
}
function drawShards(shards) {
  $("shards").replaceChildren(...shards.map(s => {
    const row = document.createElement("tr");
    const bad = s.stopped || s.damage || s.waiting;
    row.append(cell(s.shard), cell(s.topic ?? "not assigned"), cell(s.next_offset, "n"), cell(s.lag_records === null || s.lag_records < 0 ? "unknown" : s.lag_records, "n"),
      cell(time(s.watermark_ms)), cell(size(s.total_bytes), "n"), cell(bad || (s.paused ? "paused" : "running"), bad ? "bad" : ""));
    return row;
  }));
}
async function refresh() {
  try {
    const status = await get("/status");
    $("node").textContent = `${status.node}, version ${status.version}`;
    $("ready").textContent = status.clock.advice ?? (status.ready ? "ready" : "not ready: " + status.why);
    $("ready").className = status.ready && !status.clock.stands ? "muted" : "bad";
    const names = status.collections.map(c => c.name);
    if ($("collection").options.length !== names.length) $("collection").replaceChildren(...names.map(n => new Option(n, n)));
    const chosen = status.collections.find(c => c.name === $("collection").value);
    if (chosen) { drawShards(chosen.shards); drawWindows((await get("/windows?collection=" + encodeURIComponent(chosen.name))).windows); }
  } catch (problem) { $("ready").textContent = String(problem); $("ready").className = "bad"; }
}
$("collection").addEventListener("change", refresh);
$("search").addEventListener("submit", async event => {
  event.preventDefault();
  const text = event.target.q.value.trim();
  let query = text;
  if (/^\d+$/.test(text)) query = Number(text);
  else if (text.startsWith("[")) { try { query = JSON.parse(text); } catch (problem) { $("answer").textContent = String(problem); return; } }
  const reply = await fetch(`/collections/${encodeURIComponent($("collection").value)}/points/query`, {method: "POST",
    headers: {"Content-Type": "application/json", ...headers()}, body: JSON.stringify({query: text === "" ? undefined : query, limit: Number(event.target.k.value), with_payload: true})});
  const answer = await reply.json();
  if (!reply.ok) { $("answer").textContent = answer.status.error; return; }
  const table = document.createElement("table");
  table.append(...answer.result.points.map(p => {
    const row = document.createElement("tr"), payload = document.createElement("td"), pre = document.createElement("pre");
    pre.textContent = JSON.stringify(p.payload, null, 1); payload.append(pre);
    row.append(cell(p.score.toFixed(4), "n"), cell(p.id), payload);
    return row;
  }));
  const fresh = document.createElement("p");
  fresh.className = "muted";
  fresh.textContent = `${(answer.time * 1000).toFixed(2)} ms; windows searched ${answer.windrow.windows?.searched ?? "-"}, pruned ${answer.windrow.windows?.pruned ?? "-"}; searchable up to offsets ${JSON.stringify(answer.windrow.offsets)}`;
  $("answer").replaceChildren(fresh, table);
});
refresh();
setInterval(refresh, 2000);
