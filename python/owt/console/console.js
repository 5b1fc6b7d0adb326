'use strict';
// The console: what is written here is sent to the page's own address, and its answer shown as it comes, as a stream of
// events. Nothing runs but by the button or its key, whatever a link has filled in.

const form = document.querySelector('form');
const run = form.querySelector('.run');
const cancel = form.querySelector('.cancel');
const examples = form.querySelector('.examples');
const notice = form.querySelector('.notice');
const rows = form.querySelector('.rows');
const asks = form.querySelector('.asks');
const chosen = form.querySelector('.function input');
const bar = document.querySelector('.progress');
const log = document.querySelector('.log');
const editor = new Editor(form.querySelector('.editor'));

// What this page makes of code, function and fields.
const TAKEN = ['code', 'code_b64', 'code_id', 'fn_name', 'kwargs', 'kwargs_b64', 'events'];
// The rest of the query is the adaptor's.
const query = new URLSearchParams(location.search);
TAKEN.forEach((name) => query.delete(name));
const url = location.origin + location.pathname + (query.size ? `?${query}` : '');

called.shows = true;
document.querySelector('.here').textContent = location.host + location.pathname;
document.title = `${location.host}${location.pathname} – owt`;
if (/Mac|iP/.test(navigator.platform)) form.querySelector('.keys').textContent = '⌘+Enter runs';

// ---- what is remembered, here alone

const MOST_RUNS = 40;
const MOST_KEPT = 1_000_000;  // characters

// A browser may refuse to keep anything.
const kept = {
  read(name, otherwise) {
    try {
      return JSON.parse(localStorage.getItem(`owt-${name}`)) ?? otherwise;
    } catch {
      return otherwise;
    }
  },
  write(name, value) {
    try {
      if (value === undefined) localStorage.removeItem(`owt-${name}`);
      else localStorage.setItem(`owt-${name}`, JSON.stringify(value));
      return true;
    } catch {
      return false;
    }
  },
};

// What was kept, as far as it is what this page keeps: other pages of this server, and other versions of this one, write
// there as well.
function sane(one) {
  if (!isRow(one) || typeof one.code !== 'string') return undefined;
  const words = (value, otherwise = '') => (typeof value === 'string' ? value : otherwise);
  const fields = (Array.isArray(one.fields) ? one.fields : []).filter(isRow);
  const at = typeof one.at === 'number' && Math.abs(one.at) <= 8.64e15 ? one.at : 0;  // the last day that Date knows
  return {
    code: one.code,
    function: words(one.function, 'run'),
    fields: fields.map(({name, kind, value}) => ({name: words(name), kind: KINDS.includes(kind) ? kind : 'text', value: words(value)})),
    end: words(one.end),
    at,
  };
}
const draft = () => sane(kept.read('draft'));

// ---- fields

const KINDS = ['text', 'json', 'file'];

class Row {
  constructor({name = '', kind = 'text', value = ''} = {}) {
    this.name = make('input', {type: 'text', value: name, placeholder: 'name', spellcheck: false, autocapitalize: 'off'});
    this.kind = make('select', {}, ...KINDS.map((one) => make('option', {value: one}, one === 'json' ? 'JSON' : one)));
    this.remove = make('button', {type: 'button', className: 'remove'}, '×');
    this.node = make('div', {className: 'row'}, this.name, this.kind, make('span'), this.remove);
    this.node.row = this;
    this.kind.value = kind;
    this.control(value);
    this.kind.addEventListener('change', () => this.control(this.isFile ? '' : this.input.value ?? ''));
    this.name.addEventListener('input', () => this.call());
    this.remove.addEventListener('click', () => {
      const next = this.node.nextElementSibling ?? form.querySelector('.add');
      this.node.remove();
      (next.row?.name ?? next).focus();
      changed();
    });
  }
  get isFile() {
    return this.kind.value === 'file';
  }
  control(value) {
    if (this.isFile) this.input = make('input', {type: 'file', multiple: true});
    else {
      this.input = make('textarea', {rows: 1, value, spellcheck: false, className: this.kind.value === 'json' ? 'code' : ''});
      if (this.kind.value === 'json') this.input.placeholder = '{"a": [1, 2]}';
    }
    this.node.childNodes[2].replaceWith(make('div', {className: 'value'}, this.input));
    this.call();
  }
  // What a screen reader calls its parts.
  call() {
    const name = this.name.value || 'a field';
    this.name.setAttribute('aria-label', 'Name of a field');
    this.kind.setAttribute('aria-label', `Kind of ${name}`);
    this.input.setAttribute('aria-label', `Value of ${name}`);
    this.remove.setAttribute('aria-label', `Remove ${name}`);
  }
  // Undefined where there is none. Throws where it is not JSON.
  value() {
    if (this.isFile) return this.input.files.length > 1 ? [...this.input.files] : this.input.files[0];
    if (this.kind.value !== 'json') return this.input.value;
    return this.input.value.trim() === '' ? undefined : parsed(this.input.value);
  }
  check() {
    const own = TAKEN.includes(this.name.value.trim());
    this.name.setCustomValidity(own ? `What is called ${this.name.value.trim()} is sent by this page itself.` : '');
    let wrong = '';
    try {
      this.value();
    } catch (error) {
      wrong = `This is no JSON: ${error.message}`;
    }
    this.input.setCustomValidity(wrong);
  }
  get kept() {
    return {name: this.name.value, kind: this.kind.value, value: this.isFile ? '' : this.input.value};
  }
}

const allRows = () => [...rows.querySelectorAll('.row')].map((node) => node.row);

function add(field) {
  const row = new Row(field);
  rows.append(row.node);
  return row;
}

// ---- what the function takes, as far as it can be seen

// The text up to the bracket that closes the one before from, cut at commas; nothing where it is not closed.
function* parts(code, from, last = ')') {
  let depth = 0;
  let begin = from;
  const token = /'''[^]*?'''|"""[^]*?"""|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|#.*|[()[\]{},:]/g;
  token.lastIndex = from;
  for (let match; (match = token.exec(code));) {
    const [found] = match;
    if (depth === 0 && (found === last || (found === ',' && last !== ','))) {
      const part = code.slice(begin, match.index).replace(/#.*/g, '').trim();
      if (part) yield part;
      if (found === last) return;
      begin = token.lastIndex;
    } else if ('([{'.includes(found)) depth += 1;
    else if (')]}'.includes(found)) depth -= 1;
  }
}

const meansRequest = (name) => name.startsWith('_') || ['r', 'rq', 'req'].includes(name.toLowerCase()) || /request$/i.test(name);
const FILES = /\b(Path|bytes|BinaryIO|IO|FileStorage|Image|ndarray)\b/;

// A field for a parameter, with its default. plain: there is none, or it can be written in a field.
function fieldOf(part) {
  const [, name, annotation = '', given] = /^(\w+)\s*(?::\s*([^=]*))?(?:=\s*([^]*))?$/.exec(part) ?? [];
  if (name === undefined) return undefined;
  const field = {name, kind: FILES.test(annotation) ? 'file' : 'text', plain: given === undefined};
  const text = /^(?:'([^'\\\n]*)'|"([^"\\\n]*)")$/.exec(given ?? '');
  if (text !== null) return {...field, value: text[1] ?? text[2], plain: true};
  if (/^(-?[\d.]+(e-?\d+)?|True|False)$/.test(given ?? '')) return {...field, value: given.toLowerCase(), plain: true};
  return field;
}

// Undefined where there is no such function.
function parameters(code, name) {
  const word = /^\w+$/.test(name) ? name : 'run';
  const head = new RegExp(`^(?:async[ \\t]+)?def[ \\t]+${word}[ \\t]*\\(|^${word}[ \\t]*=[ \\t]*lambda\\b|^[ \\t]*lambda\\b`, 'm').exec(code);
  if (head === null) return undefined;
  const found = [...parts(code, head.index + head[0].length, head[0].endsWith('(') ? ')' : ':')];
  const fields = found.filter((part) => !/^[*/]/.test(part)).map(fieldOf).filter(Boolean);
  return fields.length && meansRequest(fields[0].name) ? fields.slice(1) : fields;
}

const plain = (fields) => fields.filter((field) => field.plain);
const spelled = (fields) => JSON.stringify(fields.map(({name, kind, value = ''}) => ({name, kind, value})));

// Fields that are as the code's own parameters made them follow these: who puts other code in place of an example does
// not send the example's field along.
let derived;
function follow() {
  const found = parameters(editor.value, chosen.value);
  if (found === undefined) return;
  const there = allRows();
  const untouched = there.length && !there.some((row) => row.isFile && row.input.files.length) && spelled(there.map((row) => row.kept)) === derived;
  const now = spelled(plain(found));
  if (untouched && now !== derived) {
    there.forEach((row) => row.node.remove());
    plain(found).forEach(add);
  }
  derived = now;
}

let suggested = '';
function suggest() {
  const there = new Set(allRows().map((row) => row.name.value));
  const missing = (parameters(editor.value, chosen.value) ?? []).filter((field) => !there.has(field.name));
  const key = JSON.stringify(missing);
  if (key === suggested) return;  // a button that is being pressed stays
  suggested = key;
  asks.replaceChildren(...missing.map((field) => {
    const button = make('button', {type: 'button'}, `+ ${field.name}`);
    button.addEventListener('click', () => {
      add(field).input.focus();
      changed();
    });
    return button;
  }));
}

// ---- what there is to send

const written = () => ({code: editor.value, function: chosen.value, fields: allRows().map((row) => row.kept)});

function fill({code = '', function: name = 'run', fields = []}) {
  editor.value = code;
  chosen.value = name || 'run';
  allRows().forEach((row) => row.node.remove());
  fields.forEach(add);
  follow();
  suggest();
  write();
}

// What a form, or curl, would take for another name.
const ODD_NAME = /["%=\\]/;

// The parameters by name. What a form would change, JSON and ends of lines, goes in kwargs. Throws where JSON is none.
function values() {
  const found = {__proto__: null, code: new Source(editor.value)};
  if (chosen.value.trim() && chosen.value.trim() !== 'run') found.fn_name = chosen.value.trim();
  const kwargs = {__proto__: null};
  const filled = allRows().filter((row) => row.name.value.trim() !== '' && row.value() !== undefined);
  const hasFiles = filled.some((row) => row.isFile);
  for (const row of filled) {
    const name = row.name.value.trim();
    const value = row.value();
    if (row.kind.value === 'json' || (!row.isFile && (ODD_NAME.test(name) || (hasFiles && /[\r\n]/.test(value))))) kwargs[name] = value;
    else if (name in found) found[name] = [...each(found[name]), ...each(value)];
    else found[name] = value;
  }
  for (const [name, one] of Object.entries(found)) {
    if (!Array.isArray(one) || isFile(one)) continue;
    kwargs[name] = one;  // of several fields of one name a form gives code the first
    delete found[name];
  }
  if (Object.keys(kwargs).length) found.kwargs = kwargs;
  return found;
}

function request(found) {
  if (!isForm(found)) {
    const body = JSON.stringify({...found, code: found.code.text});
    return {body, headers: {'Content-Type': 'application/json'}};
  }
  const body = new FormData();
  for (const [name, one] of entries(found)) {
    // A form's text would get other ends of lines, and be another source.
    if (one instanceof Source) body.append(name, new Blob([one.text]), 'code.py');
    else body.append(name, one instanceof File ? one : text(one));
  }
  return {body, headers: {}};
}

// As pairs of a query; undefined where there are files.
function pairs(found) {
  if (isForm(found)) return undefined;
  return new URLSearchParams(entries(found).map(([name, one]) => [name, one instanceof Source ? one.text : text(one)]));
}

// The same where the query has fields of its own, which are no arguments then.
function coded(found) {
  if (isForm(found)) return undefined;
  const base64 = (words) => btoa([...chunked(new TextEncoder().encode(words))].join('')).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
  const {code, fn_name: name, kwargs = {}, ...fields} = found;
  const sent = new URLSearchParams({code_b64: base64(code.text), kwargs_b64: base64(JSON.stringify({...fields, ...kwargs}))});
  if (name) sent.append('fn_name', name);
  query.forEach((value, one) => sent.append(one, value));
  return sent;
}

// ---- the answer

// The events of a stream: [type, data]. A line may be long and come in many pieces.
async function* eventsOf(body) {
  const decoder = new TextDecoder();
  let line = [];
  let type = '';
  let data = [];
  const reader = body.getReader();
  for (;;) {
    const {done, value} = await reader.read();
    if (done) return;
    const pieces = decoder.decode(value, {stream: true}).split('\n');
    for (const piece of pieces.slice(0, -1)) {
      const whole = [...line, piece].join('').replace(/\r$/, '');
      line = [];
      if (whole === '') {
        if (data.length) yield [type || 'message', data.join('\n')];
        type = '';
        data = [];
        continue;
      }
      const [, name, rest] = /^([^:]*)(?:: ?)?([^]*)$/.exec(whole);
      if (name === 'event') type = rest;
      else if (name === 'data') data.push(rest);
    }
    line.push(pieces.at(-1));
  }
}

function bytesOf({text: words, base64}) {
  if (words !== undefined) return new TextEncoder().encode(words);
  const raw = atob(base64);
  const bytes = new Uint8Array(raw.length);
  for (let at = 0; at < raw.length; at += 1) bytes[at] = raw.charCodeAt(at);
  return bytes;
}

// Lines of the code that a traceback names, the last one first.
function linesIn(detail) {
  const found = [...detail.matchAll(/^ *File "([^"]*)", line (\d+)/gm)].filter(([, file]) => /\/sha256_[0-9a-f]{64}\.py$/.test(file));
  return [...new Set(found.map(([, , line]) => Number(line)).reverse())];
}

// The last line of a traceback says what it is about: that goes first, and the files that hold this code are called so.
function failed(title, detail = '') {
  const lines = linesIn(detail);
  const said = /^Traceback|^SyntaxError/m.test(detail) ? detail.match(/^[A-Za-z_][\w.]*(?::.*)?$/gm)?.at(-1) : undefined;
  const box = problem(said ?? title, detail.replace(/File "[^"]*\/sha256_[0-9a-f]{64}\.py"/g, 'File "code.py"'));
  if (!lines.length) return;
  editor.mark(lines[0]);
  const buttons = lines.slice(0, 5).map((line) => {
    const button = make('button', {type: 'button'}, `Line ${line}`);
    button.addEventListener('click', () => editor.goTo(line));
    return button;
  });
  box.querySelector('strong').after(make('div', {className: 'lines'}, ...buttons));
}

const MOST_LOG = 200_000;
const MOST_WORDS = 500;  // beside the bar
// A carriage return begins the line anew, as in a terminal.
function overprinted(words) {
  return words.replaceAll('\r\n', '\n').split('\n').map((line) => {
    let end = line.length;
    while (line[end - 1] === '\r') end -= 1;  // what comes next does it
    return line.slice(line.lastIndexOf('\r', end - 1) + 1);
  }).join('\n');
}
const span = (ms) => (ms < 1000 ? `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

class Call {
  constructor() {
    this.abort = new AbortController();
    this.began = performance.now();
    this.tail = new Tail(log.querySelector('pre'), MOST_LOG, overprinted);
  }
  get seconds() {
    return `${((performance.now() - this.began) / 1000).toFixed(1)} s`;
  }
  get progress() {
    return this.answer?.bytes ? `Running, ${this.seconds}, ${size(this.answer.bytes)}` : `Running, ${this.seconds}`;
  }
  show(type, data) {
    if (type === 'start') {
      const head = (name) => Object.entries(data.headers ?? {}).find(([one]) => one.toLowerCase() === name)?.[1] ?? '';
      this.status = data.status;
      this.answer = new Answer(data.type || head('content-type'), head('content-disposition'));
    } else if (type === 'output') this.answer.add(bytesOf(data));
    else if (type === 'log') this.log(data);
    else if (type === 'progress') this.gauge(data);
    else if (type === 'done') this.done = data;
    else if (type === 'error') this.problem = data.problem ?? data;
  }
  log({text: words, missing}) {
    log.hidden = false;
    this.tail.add(`${missing ? `\n(${size(missing)} left out)\n` : ''}${words}`);
  }
  gauge({done, total, text: words}) {
    bar.hidden = false;
    const gauge = bar.querySelector('progress');
    if (total > 0 && Number.isFinite(total)) {
      gauge.max = total;
      gauge.value = Math.min(done, total);
    } else gauge.removeAttribute('value');
    bar.querySelector('span').textContent = [total > 0 ? `${done} of ${total}` : done, words?.slice(0, MOST_WORDS)].filter((one) => one || one === 0).join(', ');
  }
  // In words, how it ended.
  async ended() {
    if (this.problem || !this.done) this.answer?.stop();
    if (this.problem) {
      const title = `${this.problem.status} ${this.problem.title}`;
      failed(title, this.problem.detail);
      return `Failed after ${this.seconds}: ${title}`;
    }
    if (!this.done) {
      problem('The answer broke off', "The connection did, or the server's process ended. The server's error log knows.");
      return `Failed after ${this.seconds}`;
    }
    const empty = !(await this.answer?.end());
    const {load, run: ran} = this.done.ms;
    const took = [load > 0 && `loading ${span(load)}`, `running ${span(ran)}`].filter(Boolean).join(', ');
    const status = this.status && this.status !== 200 ? `, status ${this.status}` : '';
    return `Done in ${this.seconds} (${took})${status}${empty ? ': the answer is empty' : ''}`;
  }
  async run(found) {
    const {body, headers} = request(found);
    const response = await fetch(url, {method: 'POST', body, headers: {...headers, Accept: accepted, Prefer: 'events'}, signal: this.abort.signal});
    if (!(response.headers.get('Content-Type') ?? '').startsWith('text/event-stream')) {
      await refused(response, failed);
      return `${response.status < 500 ? 'Refused' : 'Failed'} after ${this.seconds}: ${response.status} ${response.statusText}`.trim();
    }
    for await (const [type, data] of eventsOf(response.body)) this.show(type, JSON.parse(data));
    this.abort.signal.throwIfAborted();
    return this.ended();
  }
}

let running;

async function start() {
  allRows().forEach((row) => row.check());
  if (run.disabled || !form.reportValidity()) return;
  Sound.stop();
  running?.abort.abort();
  clear();
  editor.mark();
  bar.hidden = true;
  log.hidden = true;
  log.querySelector('pre').replaceWith(make('pre', {className: 'text', role: 'log', tabIndex: 0, 'aria-label': 'Log'}));
  const call = new Call();
  running = call;
  accept();
  if (before && !isKnown(before.code)) remember(before, 'not run');
  before = undefined;
  save();
  const what = written();
  say('Running', true);
  cancel.disabled = false;
  state.scrollIntoView({block: 'nearest'});  // on a phone it is below the form
  const timer = setInterval(() => running === call && say(call.progress, true, false), 100);
  let end;
  try {
    end = await call.run(values());
  } catch (error) {
    call.answer?.stop();
    const broke = error instanceof TypeError ? "The connection broke off. If the server's process has ended, its error log knows why." : String(error);
    if (!call.abort.signal.aborted) problem(call.answer ? 'The answer broke off' : 'No answer came', broke);
    end = `${call.abort.signal.aborted ? 'Stopped' : 'Failed'} after ${call.seconds}`;
  }
  call.tail.flush();
  clearInterval(timer);
  remember(what, end);
  if (running !== call) return;
  cancel.disabled = true;
  bar.hidden = true;
  say(end);
  outputs = {code: what.code, type: end.startsWith('Done') ? call.answer?.type : ''};
  write();
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  start();
});
cancel.addEventListener('click', () => {
  running?.abort.abort();
  Sound.stop();
  run.focus();
});
document.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    start();
  }
  if (event.key === 'Escape' && !cancel.disabled && event.target !== editor.area) cancel.click();
});

// ---- the same call elsewhere

let outputs = {};

// A file's name for an answer that is no text, as it was when this code ran last.
function output() {
  const type = outputs.code === editor.value ? outputs.type ?? '' : '';
  return !type || /^text\/|json|xml(?!\.)|^application\/(javascript|yaml)/.test(type) && type !== 'image/svg+xml' ? '' : `${called.name}.${ends[type] ?? 'bin'}`;
}

const hint = document.querySelector('.copies .hint');
const hinted = (words, way) => (call) => {
  hint.textContent = words;
  return way(call);
};
const noFiles = 'A link cannot carry files.';

const write = offer({
  curl: hinted('', curl),
  javascript: hinted('In Node, and in pages of this server. Other pages may not run code here.', javascript),
  python: hinted('', python),
  link: hinted('Makes the call: a program gets the answer (where owt_guard is strict, with the header X-Owt: 1), whoever opens it in a browser is shown the code and asked.', ({values: found}) => {
    const sent = query.size ? coded(found) : pairs(found);
    return sent ? `${location.origin}${location.pathname}?${sent}` : noFiles;
  }),
  page: hinted('Opens this page with all of it filled in. Nothing runs before somebody presses Run, and what is behind the # is sent to nobody.', (call) => {
    const sent = pairs(call.values);
    return sent ? `${url}#${sent}` : noFiles;
  }),
}, () => {
  try {
    return {url, values: values(), streams: true, output: output(), keeps: () => false};
  } catch {  // a field holds no JSON yet
    return undefined;
  }
});

// ---- a link that fills the page in: whoever made it chose the code

let waiting;
let before;

// What is not seen, or changes how other text is seen, is spelt out as Python would write it, or JSON. As guard/confirm.cpp
// does it.
const ODD = /[\0-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ue000-\uf8ff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff]|[\ud800-\udfff](?<![\ud800-\udbff][\udc00-\udfff])(?![\udc00-\udfff])|[\u{13430}-\u{13455}\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{10ffff}]/gu;
const hex = (code, digits) => code.toString(16).padStart(digits, '0');
const speltInJson = (one) => one.split('').map((unit) => `\\u${hex(unit.charCodeAt(0), 4)}`).join('');
const spelt = (one) => (one.length > 1 ? `\\U${hex(one.codePointAt(0), 8)}` : speltInJson(one));

// Run comes to life when the page has had the focus for a second in which nobody clicked or typed: no click that was
// meant for something else presses it.
function hold() {
  clearInterval(waiting);
  run.disabled = true;
  let ticks = 0;
  waiting = setInterval(() => {
    ticks = document.hasFocus() && !document.hidden ? ticks + 1 : 0;
    if (ticks > 10) {
      clearInterval(waiting);
      waiting = undefined;
      run.disabled = false;
    }
  }, 100);
}

for (const input of ['pointerdown', 'keydown']) addEventListener(input, () => waiting && hold(), true);
for (const input of ['focus', 'blur', 'pageshow']) addEventListener(input, () => waiting && hold());
document.addEventListener('visibilitychange', () => waiting && hold());

function openLink() {
  const sent = new URLSearchParams(location.hash.slice(1));
  const code = sent.get('code');
  if (!code) return false;
  before ??= draft();
  running?.abort.abort();
  let odd = 0;
  const seen = (words, spell = spelt) => words.replace(/\r\n?/g, '\n').replace(ODD, (one) => {
    odd += 1;
    return spell(one);
  });
  const fields = [...sent].filter(([name]) => !TAKEN.includes(name)).map(([name, value]) => ({name: seen(name), kind: 'text', value: seen(value)}));
  let kwargs;
  try {
    kwargs = parsed(sent.get('kwargs') ?? '{}');
  } catch {
    kwargs = undefined;
  }
  if (!isRow(kwargs)) fields.push({name: 'kwargs', kind: 'text', value: seen(sent.get('kwargs'))});
  else for (const [name, value] of Object.entries(kwargs)) fields.push({name: seen(name), kind: 'json', value: seen(JSON.stringify(value), speltInJson)});
  fill({code: seen(code), function: seen(sent.get('fn_name') ?? 'run'), fields});
  form.querySelector('.editor').classList.add('whole');  // the button comes after all of it
  notice.querySelector('p').textContent = 'This code came with the link, and has not run. It can do whatever the server may do: read and ' +
    'change files, open connections, start programs. Press Run only if you understand it and trust whoever gave you the link.' +
    (odd ? `\n${odd === 1 ? '1 character that cannot be seen, or that changes how others are seen, is' : `${odd} characters that cannot be seen, or that change how others are seen, are`} spelt out, as in \\u200b.` : '');
  notice.hidden = false;
  clear();
  say('Nothing has run yet.');
  hold();
  return true;
}

// From now on it is the user's own.
function accept() {
  if (location.hash) history.replaceState(null, '', location.pathname + location.search);
  notice.hidden = true;
  form.querySelector('.editor').classList.remove('whole');
}

notice.querySelector('button').addEventListener('click', () => {
  accept();
  clearInterval(waiting);
  waiting = undefined;
  run.disabled = false;
  fill(before ?? first());
  before = undefined;
  editor.area.focus();
});
addEventListener('hashchange', openLink);
history.scrollRestoration = 'manual';

// ---- what is written survives a reload

let saving;
function save() {
  clearTimeout(saving);
  saving = undefined;
  if (notice.hidden) kept.write('draft', written());
}

function changed() {
  follow();
  suggest();
  write();
  saving ??= setTimeout(save, 300);
}
addEventListener('pagehide', () => saving && save());

form.addEventListener('input', (event) => {
  if (event.target === examples) return;
  allRows().forEach((row) => row.check());
  changed();
});
form.addEventListener('change', changed);
form.querySelector('.add').addEventListener('click', () => {
  add().name.focus();
  changed();
});

// ---- examples

function exampleOf({dataset: {code}}) {
  return {code, fields: plain(parameters(code, 'run'))};
}
const isKnown = (code) => !code.trim() || [...examples.options].some((option) => option.dataset.code === code) || runs().some((one) => one.code === code);
const first = () => exampleOf(examples.options[1]);

examples.addEventListener('change', () => {
  const option = examples.selectedOptions[0];
  examples.selectedIndex = 0;
  if (!option.dataset.code) return;
  const old = written();
  if (!isKnown(old.code)) remember(old, 'not run');
  accept();
  fill(exampleOf(option));
  clear();
  say('Nothing has run yet.');
  bar.hidden = true;
  log.hidden = true;
  save();
});

// ---- earlier runs

const past = document.querySelector('.history');
const runs = () => {
  const found = kept.read('runs', []);
  return Array.isArray(found) ? found.slice(0, MOST_RUNS).map(sane).filter(Boolean) : [];
};

function remember(what, end) {
  const entry = {...what, end, at: Date.now()};
  const isSame = (one) => one.code === what.code && one.function === what.function && JSON.stringify(one.fields) === JSON.stringify(what.fields);
  let all = [entry, ...runs().filter((one) => !isSame(one))].slice(0, MOST_RUNS);
  while (all.length && JSON.stringify(all).length > MOST_KEPT) all = all.slice(0, -1);
  while (all.length && !kept.write('runs', all)) all = all.slice(0, Math.floor(all.length / 2));
  recall();
}

// What tells most of code in a line: its docstring, or the function.
function gist(code) {
  const text = /^\s*(?:"""|''')\s*(\S[^\n]*?)?(?:"""|'''|\n)/.exec(code)?.[1];
  const line = /^.*\b(?:def[ \t]+run\b|run[ \t]*=).*$/m.exec(code)?.[0] ?? code.split('\n').find((one) => one.trim());
  return (text || line || '').trim().slice(0, 200);
}

function recall() {
  const all = runs();
  past.hidden = !all.length;
  past.querySelector('ol').replaceChildren(...all.map((one) => {
    const at = new Date(one.at);
    const today = at.toDateString() === new Date().toDateString();
    const time = make('time', {dateTime: at.toISOString()}, today ? at.toLocaleTimeString() : at.toLocaleDateString());
    const given = one.fields.filter((field) => field.value).map((field) => `${field.name}=${field.value}`).join(' ');
    const button = make('button', {type: 'button'}, time, make('code', {}, [gist(one.code), given && `  # ${given}`].join('')), make('small', {}, one.end));
    button.addEventListener('click', () => {
      accept();
      fill(one);
      save();
      editor.area.focus();
      form.scrollIntoView({block: 'nearest'});
    });
    return make('li', {}, button);
  }));
}

past.querySelector('.forget').addEventListener('click', () => {
  kept.write('runs', undefined);
  recall();
  editor.area.focus();
});
addEventListener('storage', recall);

// ----

form.querySelector('.function input').addEventListener('change', suggest);
recall();
if (!openLink()) fill(draft() ?? first());
