"use strict";
// Everything shown is computed by the name server. This script asks, draws and
// explains; text from there is only ever set as text.
const $ = id => document.getElementById(id);
const TOP = 84, BOTTOM = -59, SPAN = TOP - BOTTOM;
const dark = matchMedia("(prefers-color-scheme: dark)");
const land = LAND.split("\n").map(line => {
  const [name, ...points] = line.split(/[ ,]/);
  const coast = [];
  for (let i = 0; i < points.length; i += 2) coast.push([+points[i], +points[i + 1]]);
  return { lake: name[0] === "~", coast };
});

let world = null; // the last answer of /v1/map
let real = null; // the last one without what-if, to compare with
let at = -1; // class that is explained
const down = new Set(); // nodes that are down in this world alone
const touched = new Set(); // sliders that say something else than the policy
let moved = new Set(); // classes that would go elsewhere than they do

const text = (element, value) => { element.textContent = value; return element; };
const make = (tag, value, className) => {
  const element = document.createElement(tag);
  if (value !== undefined) element.textContent = value;
  if (className) element.className = className;
  return element;
};
const percent = x => (100 * x).toFixed(x > 0 && x < .0995 ? 1 : 0) + " %";
const plural = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : word.endsWith("s") ? "es" : "s"}`;

// Neighbours on the map get hues far apart: the golden angle, from west to east.
let hues = [];
function colours() {
  const order = world.nodes.map((n, i) => i).sort((a, b) => (world.nodes[a].lon ?? 999) - (world.nodes[b].lon ?? 999));
  hues = [];
  order.forEach((node, i) => { hues[node] = [Math.round(i * 137.508 + 210) % 360, i % 3]; });
}
function colour(node) {
  if (node < 0) return dark.matches ? "#5c6b76" : "#9aa7b1";
  const [hue, tone] = hues[node];
  return `hsl(${hue} ${[70, 55, 80][tone]}% ${dark.matches ? [62, 55, 70][tone] : [45, 38, 52][tone]}%)`;
}

async function ask(path) {
  const reply = await fetch(path, { cache: "no-store" });
  const answer = await reply.json();
  if (!reply.ok) throw new Error(answer.error);
  return answer;
}
function question() {
  const q = new URLSearchParams();
  if ($("name").value) q.set("name", $("name").value);
  q.set("type", $("type").value);
  for (const word of touched) q.set(word, $(word).value);
  if ($("policy").value) q.set("policy", $("policy").value);
  if (down.size) q.set("down", [...down].join(","));
  return q;
}
const supposed = () => touched.size + down.size > 0 || $("policy").value !== "";

let asked = 0;
async function load() {
  const turn = ++asked;
  try {
    const answer = await ask("v1/map?" + question());
    const base = supposed() ? await ask("v1/map?" + new URLSearchParams({ name: answer.name, type: answer.type })) : answer;
    if (turn !== asked) return;
    real = base;
    show(answer);
  } catch (e) {
    if (turn !== asked) return;
    text($("status"), e.message).className = "bad";
  }
}

function show(answer) {
  const another = world && world.name !== answer.name;
  world = answer;
  colours();
  if (another || at >= world.classes.key.length) at = -1;
  if (document.activeElement !== $("name")) $("name").value = world.name;
  const policies = $("policy");
  if (policies.options.length !== world.policies.length + 1) {
    const value = policies.value;
    offer(...world.policies);
    policies.value = value;
  }
  const p = world.policy;
  for (const [word, value] of [["alpha", p.alpha], ["beta", p.beta], ["near", p.near_pct]]) {
    $(word).value = value;
    text($(word + "-is"), Number(value.toFixed(2)));
  }
  $("reset").disabled = !supposed();
  text($("status"), `${plural(world.classes.key.length, "class")}, ${plural(world.nodes.length, "node")}, ` +
    `policy ${p.name}, table ${world.generation}, ${world.freshness}`).className = "";
  rows();
  pins();
  difference();
  draw();
  if (at >= 0) explain(at);
  const q = question(); // which the URL has, so that it can be sent to somebody
  if (at >= 0) q.set("class", world.classes.key[at]);
  history.replaceState(null, "", "#" + q);
}

const offer = (...policies) => $("policy").replaceChildren(new Option("as it is", ""), ...policies.map(n => new Option(n)));

// suggest offers names, as many as the name server lists. Others may be typed.
async function suggest() {
  try {
    $("names").replaceChildren(...(await ask("v1/names")).names.map(n => new Option(n)));
  } catch { /* the map says what is wrong */ }
}

function toggle(id) {
  if (!down.delete(id)) down.add(id);
  load();
}

function rows() {
  const body = $("rows"), focused = document.activeElement?.dataset?.kill;
  const most = Math.max(...world.nodes.map(n => n.share));
  body.replaceChildren(...world.nodes.map((n, i) => {
    const row = make("tr");
    const id = make("td");
    const swatch = make("span", "", "swatch");
    swatch.style.background = colour(i);
    id.append(swatch, n.id);
    const state = make("td", n.state, n.state === "down" ? "bad" : "");
    state.title = n.reason;
    const share = make("td", undefined, "share");
    const meter = make("meter");
    meter.max = most || 1;
    meter.value = n.share;
    meter.setAttribute("aria-hidden", "true");
    const kill = make("button", down.has(n.id) ? "revive" : "kill");
    kill.type = "button";
    kill.dataset.kill = n.id;
    kill.setAttribute("aria-pressed", down.has(n.id));
    kill.setAttribute("aria-label", `What if ${n.id} dies`);
    kill.onclick = () => toggle(n.id);
    const last = make("td");
    last.append(kill);
    share.append(meter, make("span", percent(n.share)));
    const wins = make("td", n.wins.toLocaleString("en"), "n");
    wins.title = `wins ${plural(n.wins, "class")}`;
    row.append(id, state, wins, share, last);
    return row;
  }));
  if (focused) body.querySelector(`[data-kill="${CSS.escape(focused)}"]`)?.focus();
}

const left = lon => (lon + 180) / 360, top_ = lat => (TOP - lat) / SPAN;
function pins() {
  const focused = document.activeElement?.dataset?.pin;
  $("pins").replaceChildren(...world.nodes.flatMap((n, i) => {
    if (n.lat === undefined) return [];
    const pin = make("button", n.id, world.nodes.length > 40 ? "many" : "");
    pin.type = "button";
    pin.dataset.pin = n.id;
    pin.dataset.state = n.state;
    pin.style.left = 100 * left(n.lon) + "%";
    pin.style.top = 100 * top_(n.lat) + "%";
    pin.style.background = colour(i);
    pin.title = `${n.id}: ${n.state} (${n.reason}), wins ${plural(n.wins, "class")}, share ${percent(n.share)}`;
    pin.setAttribute("aria-pressed", down.has(n.id));
    pin.onclick = () => toggle(n.id);
    return [pin];
  }));
  if (focused) $("pins").querySelector(`[data-pin="${CSS.escape(focused)}"]`)?.focus();
}

// difference says what the supposed world changes.
function difference() {
  const out = $("difference");
  moved = new Set();
  if (!supposed()) return text(out, "");
  const before = new Map(), to = new Map();
  real.classes.key.forEach((key, i) => before.set(key, real.nodes[real.classes.node[i]]?.id ?? "nothing"));
  world.classes.key.forEach((key, i) => {
    const now = world.nodes[world.classes.node[i]]?.id ?? "nothing";
    if (now === (before.get(key) ?? now)) return;
    moved.add(i);
    to.set(now, (to.get(now) ?? 0) + 1);
  });
  const most = [...to].sort((a, b) => b[1] - a[1]).slice(0, 4).map(([id, n]) => `${n} to ${id}`);
  text(out, moved.size ? `${plural(moved.size, "class")} would move: ${most.join(", ")}${to.size > 4 ? ", …" : ""}` : "No class would move.");
}

function draw() {
  const canvas = $("map"), scale = devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (!world || !width) return;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const c = canvas.getContext("2d");
  c.scale(scale, scale);
  const css = getComputedStyle(document.documentElement);
  const paint = name => {
    const probe = document.createElement("i");
    probe.style.color = `var(--${name})`;
    document.body.append(probe);
    const value = getComputedStyle(probe).color;
    probe.remove();
    return value;
  };
  const sea = paint("sea"), x = lon => left(lon) * width, y = lat => top_(lat) * height;
  c.fillStyle = sea;
  c.fillRect(0, 0, width, height);
  c.lineJoin = "round";
  for (const { lake, coast } of land) {
    c.beginPath();
    for (const [lon, lat] of coast) c.lineTo(x(lon), y(lat));
    c.closePath();
    c.fillStyle = lake ? sea : paint("land");
    c.strokeStyle = paint("coast");
    c.lineWidth = .8;
    c.fill();
    c.stroke();
  }
  c.strokeStyle = paint("grid");
  c.lineWidth = .6;
  c.beginPath();
  for (let lon = -150; lon < 180; lon += 30) { c.moveTo(x(lon), 0); c.lineTo(x(lon), height); }
  for (let lat = -30; lat < TOP; lat += 30) { c.moveTo(0, y(lat)); c.lineTo(width, y(lat)); }
  c.stroke();

  const k = world.classes, side = Math.max(1.6, width / 360 * (k.placed > 300 ? 1.02 : 2.2));
  for (let i = 0; i < k.placed; i++) {
    const fade = moved.size && !moved.has(i) ? .3 : 1;
    if (k.coarse[i]) {
      c.globalAlpha = .9 * fade;
      c.strokeStyle = colour(k.node[i]);
      c.lineWidth = 3;
      c.beginPath();
      c.arc(x(k.lon[i]), y(k.lat[i]), Math.max(7, width / 70), 0, 7);
      c.stroke();
    } else {
      c.globalAlpha = (.35 + .6 * k.share[i]) * fade;
      c.fillStyle = colour(k.node[i]);
      c.fillRect(x(k.lon[i]) - side / 2, y(k.lat[i]) - side / 2, side, side);
    }
  }
  c.globalAlpha = 1;
  if (at >= 0 && at < k.placed) {
    c.strokeStyle = paint("text");
    c.lineWidth = 2;
    const s = Math.max(11, 2 * side);
    c.strokeRect(x(k.lon[at]) - s / 2, y(k.lat[at]) - s / 2, s, s);
    const winner = world.nodes[k.node[at]];
    if (winner?.lat !== undefined) {
      c.setLineDash([4, 3]);
      c.lineWidth = 1.2;
      c.beginPath();
      c.moveTo(x(k.lon[at]), y(k.lat[at]));
      c.lineTo(x(winner.lon), y(winner.lat));
      c.stroke();
    }
  }
}

let wanted = -1, waiting = 0;
function point(i) {
  if (i < 0 || i === at) return;
  at = i;
  draw();
  clearTimeout(waiting);
  waiting = setTimeout(() => explain(i), 80);
}

async function explain(i) {
  wanted = i;
  const q = question();
  q.set("name", world.name);
  q.set("class", world.classes.key[i]);
  const out = $("explanation");
  try {
    const e = await ask("v1/explain?" + q);
    if (wanted !== i) return;
    const picked = e.candidates.filter(n => n.fate === "chosen").map(n => n.id);
    const table = make("table"), head = make("tr");
    for (const [word, n] of [["Node", 0], ["", 0], ["km", 1], ["Score", 1], ["Share", 1]]) head.append(make("th", word, n ? "n" : ""));
    table.append(head);
    const most = 12;
    for (const n of e.candidates.slice(0, most)) {
      const row = make("tr", undefined, n.share > 0 ? "" : "out");
      const id = make("td"), swatch = make("span", "", "swatch");
      swatch.style.background = colour(world.nodes.findIndex(m => m.id === n.id));
      id.append(swatch, n.id);
      row.title = `${n.state}, ${n.reason}; health ${n.health}, accepts ${percent(n.acceptance)}` +
        (n.ramp < 1 ? `, returned, with ${percent(n.ramp)}` : "") +
        (n.rtt_ms ? `, rtt ${n.rtt_ms} ms, delay ${n.delay_ms} ms` : "");
      row.append(id, make("td", n.fate === "chosen" ? "group" : n.fate), make("td", n.distance_km === undefined ? "" : Math.round(n.distance_km), "n"),
        make("td", n.score.toFixed(3), "n"), make("td", n.share > 0 ? percent(n.share) : "", "n"));
      table.append(row);
    }
    const more = e.candidates.length - most;
    out.replaceChildren(
      make("p", e.target || picked.join(", ") || "nothing", "pick"),
      make("p", `${e.client.class}: ${e.why}, TTL ${e.ttl_s} s${e.degraded ? ", degraded" : ""}`), table,
      ...(more > 0 ? [make("p", `and ${plural(more, "node")} more`)] : []));
  } catch (e) {
    if (wanted === i) out.replaceChildren(make("p", e.message, "bad"));
  }
}

// nearest returns the class closest to a place that passes, or -1.
function nearest(lon, lat, reach, passes) {
  const k = world.classes;
  let best = -1, least = reach * reach;
  for (let i = 0; i < k.placed; i++) {
    const dx = k.lon[i] - lon, dy = k.lat[i] - lat, d = dx * dx + dy * dy;
    if (d <= least && (!passes || passes(dx, dy))) { best = i; least = d; }
  }
  return best;
}
function follows(e) {
  if (!world) return;
  const box = e.target.getBoundingClientRect();
  point(nearest((e.clientX - box.left) / box.width * 360 - 180, TOP - (e.clientY - box.top) / box.height * SPAN, world.classes.placed > 300 ? 4 : 12));
}
$("map").addEventListener("pointermove", follows);
$("map").addEventListener("pointerdown", follows); // a finger that taps does not move
$("map").addEventListener("keydown", e => {
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[e.key];
  if (!way || !world || !world.classes.placed) return;
  e.preventDefault();
  if (at < 0) return point(nearest(0, 50, 1e9));
  const k = world.classes;
  point(nearest(k.lon[at], k.lat[at], 1e9, (dx, dy) => {
    const along = dx * way[0] + dy * way[1], aside = Math.abs(dx * way[1] + dy * way[0]);
    return along > 0 && aside <= along;
  }));
});
for (const word of ["alpha", "beta", "near"]) {
  let soon = 0;
  $(word).addEventListener("input", e => {
    touched.add(word);
    text($(word + "-is"), Number(e.target.value));
    clearTimeout(soon);
    soon = setTimeout(load, 60);
  });
}
$("name").onfocus = e => { e.target.select(); suggest(); };
$("name").onchange = () => { down.clear(); touched.clear(); offer(); load(); };
$("type").onchange = load;
$("policy").onchange = () => { touched.clear(); load(); };
$("reset").onclick = () => { down.clear(); touched.clear(); $("policy").value = ""; load(); };
new ResizeObserver(draw).observe($("map"));
dark.addEventListener("change", () => { if (world) show(world); });

// The URL begins with a question, as show leaves it there.
const begin = new URLSearchParams(location.hash.slice(1));
$("name").value = begin.get("name") ?? "";
if (begin.get("type") === "AAAA") $("type").value = "AAAA";
if (begin.get("policy")) { offer(begin.get("policy")); $("policy").value = begin.get("policy"); }
for (const id of (begin.get("down") ?? "").split(",")) if (id) down.add(id);
for (const word of ["alpha", "beta", "near"]) if (begin.has(word)) { $(word).value = begin.get(word); touched.add(word); }
suggest();
// A map of many classes and nodes is work for the name server: it is asked for one
// at most a tenth of the time.
async function follow() {
  const start = performance.now();
  if (!document.hidden) await load();
  setTimeout(follow, Math.max(5000, 9 * (performance.now() - start)));
}
follow().then(() => {
  if (world && begin.has("class")) point(world.classes.key.indexOf(begin.get("class")));
});
