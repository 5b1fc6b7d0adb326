// What the page shows comes from calls, which are anybody's: it is put into text nodes alone. Rows are kept from one
// look to the next, so that focus and what is selected stay where they are. A button asks once more before it ends
// anything, so that no click that was meant for another page does.

#include "nginx/status_page.hpp"

#include "guard/policy.hpp"

namespace owt {

namespace {

constexpr std::string_view style = R"(
:root { color-scheme: light dark; --ink: #1d1f21; --soft: #62676d; --paper: #fbfaf8; --box: #fff; --edge: #dcd8d0;
  --good: #1f5f4a; --good-box: #e6f2ed; --bad: #b3261e; --bad-box: #fdecea; --wait: #8a4b00; --wait-box: #fff5e4;
  --flow: #1d4f91; --flow-box: #e7effa; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e2de; --soft: #a09c95; --paper: #191a1b; --box: #212325;
  --edge: #3a3c3e; --good: #7cc7ab; --good-box: #1d2f28; --bad: #ff8a80; --bad-box: #3a201e; --wait: #f0bf7c;
  --wait-box: #2e2618; --flow: #9cc2f5; --flow-box: #1c2838; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 70rem; margin: 0 auto; padding: 2rem 1.5rem 4rem; }
header { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; }
h1 { font-size: 1.5rem; line-height: 1.2; font-weight: 650; letter-spacing: -.015em; margin: 0; }
h2 { font-size: .8125rem; font-weight: 600; letter-spacing: .06em; text-transform: uppercase; color: var(--soft);
  margin: 2.25rem 0 .5rem; }
h2 span { font-weight: 400; }
.badge { display: inline-block; padding: .0625rem .5625rem; border-radius: 1rem; font-size: .875rem; font-weight: 600;
  white-space: nowrap; background: var(--edge); color: var(--ink); }
.good { background: var(--good-box); color: var(--good); }
.bad { background: var(--bad-box); color: var(--bad); }
.wait { background: var(--wait-box); color: var(--wait); }
.flow { background: var(--flow-box); color: var(--flow); }
#word { margin: .5rem 0 0; min-height: 1.5rem; color: var(--soft); font-size: .9375rem; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); gap: .75rem; margin: 1rem 0 0; }
dl div { padding: .75rem 1rem; background: var(--box); border: 1px solid var(--edge); border-radius: .5rem; }
dt { color: var(--soft); font-size: .8125rem; }
dd { margin: 0; font-size: 1.5rem; line-height: 1.3; font-weight: 600; font-variant-numeric: tabular-nums; }
.box { background: var(--box); border: 1px solid var(--edge); border-radius: .5rem; overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: .9375rem; }
th, td { padding: .5rem .875rem; text-align: left; vertical-align: middle; }
th { color: var(--soft); font-size: .8125rem; font-weight: 500; white-space: nowrap; }
tbody tr { border-top: 1px solid var(--edge); }
td { overflow-wrap: anywhere; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.mono { font: .875rem/1.5 ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", monospace; }
.act { text-align: right; width: 1%; white-space: nowrap; }
.none { margin: 0; padding: .75rem 1rem; color: var(--soft); }
.none:empty { display: none; }
button { font: inherit; font-size: .875rem; font-weight: 600; padding: .1875rem .75rem; border-radius: .375rem;
  border: 1px solid var(--edge); background: var(--paper); color: var(--ink); cursor: pointer; }
button:hover { border-color: var(--soft); }
button:focus-visible, a:focus-visible { outline: .1875rem solid var(--flow); outline-offset: .125rem; }
button.armed { background: var(--bad-box); border-color: var(--bad); color: var(--bad); }
button[aria-disabled=true] { opacity: .5; cursor: default; }
nav { margin-left: auto; display: flex; gap: 1rem; font-size: .9375rem; }
a { color: var(--flow); }
@media (max-width: 44rem) {
  main { padding: 1.25rem 1rem 3rem; }
  nav { margin-left: 0; width: 100%; }
  dl { grid-template-columns: repeat(2, 1fr); }
  thead { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
  table, tbody, tr, td { display: block; }
  tr { padding: .5rem .875rem; }
  td { display: flex; gap: 1rem; justify-content: space-between; padding: .1875rem 0; text-align: right; width: auto; }
  td::before { content: attr(data-name); color: var(--soft); font: .875rem/1.6 system-ui, sans-serif; flex: none; }
  td.act { justify-content: flex-end; width: auto; }
}
)";

constexpr std::string_view script = R"(
'use strict';
const by = id => document.getElementById(id);
const word = text => { by('word').textContent = text; };
const size = bytes => {
  if (!bytes) return '–';
  const mebibytes = bytes / 1048576;
  return mebibytes < 1000 ? `${Math.round(mebibytes)} MiB` : `${(mebibytes / 1024).toFixed(1)} GiB`;
};
const span = seconds => {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
};
const kinds = {ready: 'good', running: 'good', streaming: 'flow', spare: 'flow', loading: 'wait', starting: 'wait',
  queued: 'wait', retiring: 'wait', ending: 'bad'};

function cell(row, name, kind) {
  const made = row.insertCell();
  made.dataset.name = name;
  if (kind) made.className = kind;
  return made;
}

function set(element, text) {
  if (element.textContent !== String(text)) element.textContent = text;
}

function badge(place, state) {
  let made = place.firstChild;
  if (!made) made = place.appendChild(document.createElement('span'));
  made.className = `badge ${kinds[state] || ''}`;
  set(made, state);
}

// One more click, not right after the first, does it.
function button(label, question, what, path) {
  const made = document.createElement('button');
  made.type = 'button';
  let armed = 0;
  let timer;
  // Not disabled, which would take the focus away: who uses the keyboard would begin at the top.
  let over = false;
  const end = done => {
    over = done;
    made.setAttribute('aria-disabled', done);
  };
  const rest = () => {
    armed = 0;
    made.classList.remove('armed');
    made.textContent = label;
    made.setAttribute('aria-label', `${label} ${what}`);
  };
  made.addEventListener('click', async () => {
    const now = performance.now();
    if (over) return;
    if (!armed) {
      armed = now;
      made.classList.add('armed');
      made.textContent = question;
      made.setAttribute('aria-label', `${question} ${what}`);
      timer = setTimeout(rest, 5000);
      return;
    }
    if (now - armed < 400) return;
    clearTimeout(timer);
    rest();
    end(true);
    try {
      const answer = await fetch(path, {method: 'DELETE', headers: {Accept: 'text/plain'}});
      word((await answer.text()).trim());
      end(answer.ok);
    } catch {
      word('The server does not answer.');
      end(false);
    }
    look();
  });
  made.addEventListener('blur', rest);
  rest();
  return made;
}

// Each table keeps a row for each key, in the order of what came.
function table(id, key, make, fill) {
  const body = by(id).tBodies[0];
  const rows = new Map();
  return items => {
    const gone = new Set(rows.keys());
    items.forEach((item, at) => {
      const name = key(item);
      gone.delete(name);
      let row = rows.get(name);
      if (!row) {
        row = document.createElement('tr');
        make(row, item);
        rows.set(name, row);
      }
      if (body.rows[at] !== row) body.insertBefore(row, body.rows[at] || null);
      fill(row.cells, item);
    });
    for (const name of gone) {
      const row = rows.get(name);
      const near = row.contains(document.activeElement) && (row.nextElementSibling || row.previousElementSibling);
      row.remove();
      if (near) near.querySelector('button').focus();
      rows.delete(name);
    }
    by(id).hidden = !items.length;
    by(`no-${id}`).hidden = items.length > 0;
    by(`count-${id}`).textContent = items.length || '';
  };
}

const showCalls = table('calls', call => call.id, (row, call) => {
  for (const [name, kind] of [['state'], ['for', 'number'], ['function'], ['location'], ['instance'],
    ['endpoint', 'mono'], ['id', 'mono']]) cell(row, name, kind);
  cell(row, '', 'act').append(button('Stop', 'Really stop?', `call ${call.id}`, `calls/${call.id}`));
}, (cells, call) => {
  badge(cells[0], call.state);
  set(cells[1], span(call.age));
  set(cells[2], call.function || '–');
  set(cells[3], call.location);
  set(cells[4], call.instance);
  set(cells[5], call.endpoint || '–');
  set(cells[6], call.id);
});

const showProcesses = table('processes', process => process.pid, row => {
  for (const [name, kind] of [['instance'], ['state'], ['running', 'number'], ['queued', 'number'], ['done', 'number'],
    ['failed', 'number'], ['stuck threads', 'number'], ['endpoints', 'number'], ['memory', 'number'], ['up', 'number'],
    ['pid', 'number']]) cell(row, name, kind);
}, (cells, process) => {
  set(cells[0], process.instance);
  badge(cells[1], process.state);
  [process.running, process.queued, process.done, process.failed, process.lost_threads, process.endpoints,
    size(process.rss), span(Math.max(0, Date.now() / 1000 - process.started)), process.pid]
    .forEach((value, i) => set(cells[i + 2], value));
});

const showEndpoints = table('endpoints', one => one.endpoint, (row, one) => {
  cell(row, 'endpoint', 'mono');
  cell(row, 'loaded in', 'number');
  cell(row, '', 'act').append(button('Drop', 'Really drop?', `endpoint ${one.endpoint}`, `endpoints/${one.endpoint}`));
}, (cells, one) => {
  set(cells[0], one.endpoint);
  set(cells[1], one.pids.length === 1 ? '1 process' : `${one.pids.length} processes`);
});

function show(state) {
  const sum = name => state.processes.reduce((total, process) => total + process[name], 0);
  badge(by('health'), state.ready ? 'ready' : 'not ready');
  by('health').firstChild.classList.toggle('bad', !state.ready);
  set(by('wrong'), state.wrong);
  for (const name of ['running', 'queued', 'done', 'failed']) set(by(name), sum(name));
  set(by('memory'), size(sum('rss')));
  showCalls(state.calls);
  set(by('hidden'), state.hidden ? `and ${state.hidden} more that are not shown` : '');
  showProcesses(state.processes);
  showEndpoints(state.endpoints);
}

let timer;
let asking = false;
async function look() {
  clearTimeout(timer);
  if (asking) return;
  asking = true;
  try {
    const answer = await fetch('state', {cache: 'no-store', headers: {Accept: 'application/json'}});
    if (!answer.ok) throw new Error(`The server answers with ${answer.status}.`);
    show(await answer.json());
    document.documentElement.dataset.seen = 'yes';
  } catch (error) {
    badge(by('health'), 'no answer');
    by('health').firstChild.classList.add('bad');
    word(error instanceof TypeError ? 'The server does not answer.' : error.message);
  }
  asking = false;
  if (!document.hidden) timer = setTimeout(look, 1000);
}
document.addEventListener('visibilitychange', () => document.hidden || look());
look();
)";

constexpr std::string_view body = R"(<main>
<header><h1>owt</h1><span id="health"></span><span id="wrong"></span>
<nav><a href="metrics">metrics</a><a href="calls">calls</a><a href="health">health</a></nav></header>
<p id="word" role="status"></p>
<dl>
<div><dt>running</dt><dd id="running">–</dd></div>
<div><dt>queued</dt><dd id="queued">–</dd></div>
<div><dt>done</dt><dd id="done">–</dd></div>
<div><dt>failed</dt><dd id="failed">–</dd></div>
<div><dt>memory</dt><dd id="memory">–</dd></div>
</dl>
<h2>Calls <span id="count-calls"></span></h2>
<div class="box"><p class="none" id="no-calls">None.</p>
<table id="calls" hidden><thead><tr><th>state<th class="number">for<th>function<th>location<th>instance<th>endpoint
<th>id<th><tbody></table></div>
<p class="none" id="hidden"></p>
<h2>Processes <span id="count-processes"></span></h2>
<div class="box"><p class="none" id="no-processes">None.</p>
<table id="processes" hidden><thead><tr><th>instance<th>state<th class="number">running<th class="number">queued
<th class="number">done<th class="number">failed<th class="number">stuck threads<th class="number">endpoints
<th class="number">memory<th class="number">up<th class="number">pid<tbody></table></div>
<h2>Endpoints <span id="count-endpoints"></span></h2>
<div class="box"><p class="none" id="no-endpoints">None.</p>
<table id="endpoints" hidden><thead><tr><th>endpoint<th class="number">loaded in<th><tbody></table></div>
<noscript><p>This page needs JavaScript. Without it: <a href="state">state</a>, as JSON.</p></noscript>
</main>
)";

}  // namespace

const std::string& status_page() {
    static const std::string page =
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<title>owt</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>" +
        std::string(style) + "</style>\n</head>\n<body>\n" + std::string(body) + "<script>" + std::string(script) +
        "</script>\n</body>\n</html>\n";
    return page;
}

std::array<std::pair<std::string_view, std::string_view>, 6> status_headers() {
    static const std::string policy =
        content_policy(style, script, "; connect-src 'self'; img-src data:; require-trusted-types-for 'script'");
    return {{
        {"Content-Type", "text/html; charset=utf-8"},
        {"Content-Security-Policy", policy},
        {"X-Frame-Options", "DENY"},
        {"Cross-Origin-Opener-Policy", "same-origin"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
        {"Cache-Control", "no-store"},
    }};
}

}  // namespace owt
