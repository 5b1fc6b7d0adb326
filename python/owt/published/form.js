'use strict';
// The form calls the function that it is about, at the page's own address, and shows what comes as it comes.

const form = document.querySelector('form');
const spec = JSON.parse(form.dataset.spec);
const fields = [...form.querySelectorAll('.field')];
const state = document.querySelector('.state');
const told = document.querySelector('.told');
const shown = document.querySelector('.shown');
const run = form.querySelector('.run');
const cancel = form.querySelector('.cancel');
const url = location.origin + location.pathname;

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

// ---- what the fields hold

// Whole numbers of any size stay what they are.
function number(text) {
  const whole = /^-?\d+$/.test(text) ? BigInt(text) : null;
  if (whole === null) return Number(text);
  return whole > Number.MAX_SAFE_INTEGER || whole < Number.MIN_SAFE_INTEGER ? whole : Number(whole);
}

function typed(text, kind) {
  if (kind === 'integer' || kind === 'number') return number(text.trim());
  if (kind === 'boolean') return ['true', '1', 'yes', 'on'].includes(text.trim().toLowerCase());
  return text;
}

// A field's value; undefined if it is to be left out.
function valueOf(field) {
  const {kind, item} = field.dataset;
  const input = field.querySelector('[name]');
  switch (kind) {
    case 'file':
      return input.files.length === 0 ? undefined : input.multiple ? [...input.files] : input.files[0];
    case 'boolean':
      return input.checked;
    case 'choice':
      return input.value === '' && !input.selectedOptions[0].dataset.value
        ? undefined : JSON.parse(input.selectedOptions[0].dataset.value);
    case 'choices':
      return [...field.querySelectorAll('input:checked')].map((one) => JSON.parse(one.dataset.value));
    case 'lines': {
      const lines = input.value.split('\n').filter((line) => line.trim() !== '');
      return lines.map((line) => typed(line, item));
    }
    case 'json':
      return input.value.trim() === '' ? undefined : JSON.parse(input.value);
    case 'text':
    case 'any':
      if (kind === 'any' && 'default' in field.dataset && input.value === text(JSON.parse(field.dataset.default))) return undefined;
      return input.value === '' && 'optional' in field.dataset && !field.dataset.default ? undefined : input.value;
    case 'number':
      return input.value === '' ? undefined : number(input.value);
    default:
      return input.value === '' ? undefined : input.value;
  }
}

function json(value) {
  if (typeof value === 'bigint') return String(value);
  if (Array.isArray(value)) return `[${value.map(json).join(', ')}]`;
  if (value !== null && typeof value === 'object') {
    return `{${Object.entries(value).map(([key, one]) => `${JSON.stringify(key)}: ${json(one)}`).join(', ')}}`;
  }
  return JSON.stringify(value);
}

const isFile = (value) => value instanceof File || (Array.isArray(value) && value[0] instanceof File);

// The arguments by name; what is as it would be anyhow is left out.
function values() {
  const found = {};
  for (const field of fields) {
    const value = valueOf(field);
    if (value === undefined) continue;
    const usual = field.dataset.default;
    if ('optional' in field.dataset) {
      if (Array.isArray(value) && value.length === 0 && (usual === undefined || usual === '[]')) continue;
      if (!isFile(value) && usual !== undefined && json(value) === json(JSON.parse(usual))) continue;
    }
    found[field.dataset.name] = value;
  }
  return found;
}

const each = (value) => (Array.isArray(value) ? value : [value]);
const text = (value) => (value !== null && typeof value === 'object' ? json(value) : String(value));

// Forms make CR LF of the ends of lines; what is sent as a file stays as it is, and where text is wanted it is that.
const keepsLines = (name, one) => form.querySelector(`[data-name="${name}"]`).dataset.kind === 'text' && /\n/.test(one);
const part = (name, one) => (keepsLines(name, one) ? new Blob([one], {type: 'text/plain'}) : text(one));

function request(found) {
  if (!Object.values(found).some(isFile)) return {body: json(found), headers: {'Content-Type': 'application/json'}};
  const body = new FormData();
  for (const [name, value] of Object.entries(found)) {
    for (const one of each(value)) body.append(name, one instanceof File ? one : part(name, one));
  }
  return {body, headers: {}};
}

// A JSON field that holds none is told by the browser, as other fields are.
function check(field) {
  if (field.dataset.kind !== 'json') return;
  const input = field.querySelector('textarea');
  let wrong = '';
  try {
    if (input.value.trim() !== '') JSON.parse(input.value);
  } catch (error) {
    wrong = `This is no JSON: ${error.message}`;
  }
  input.setCustomValidity(wrong);
}

// ---- what comes back

const sizes = ['bytes', 'kB', 'MB', 'GB'];
function size(bytes) {
  const step = Math.min(sizes.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(bytes, 1)) / 3)));
  return `${step === 0 ? bytes : (bytes / 1000 ** step).toFixed(1)} ${bytes === 1 ? 'byte' : sizes[step]}`;
}

const ends = {
  'application/json': 'json', 'application/x-ndjson': 'ndjson', 'text/csv': 'csv', 'text/html': 'html',
  'text/plain': 'txt', 'image/png': 'png', 'image/jpeg': 'jpg', 'image/svg+xml': 'svg', 'image/gif': 'gif',
  'image/webp': 'webp', 'audio/wav': 'wav', 'audio/mpeg': 'mp3', 'audio/ogg': 'ogg', 'video/mp4': 'mp4',
  'application/pdf': 'pdf', 'application/zip': 'zip',
};

function fileName(answer, type) {
  const said = /filename="?([^";]+)"?/.exec(answer.headers.get('Content-Disposition') ?? '');
  return said ? said[1] : `${spec.name.split('/').pop()}.${ends[type] ?? 'bin'}`;
}

const urls = [];
function urlOf(blob) {
  urls.push(URL.createObjectURL(blob));
  return urls.at(-1);
}

function clear() {
  shown.replaceChildren();
  while (urls.length > 0) URL.revokeObjectURL(urls.pop());
}

// A view takes pieces of an answer's body and shows them; end() gets all of it at last.

class Text {
  constructor(type) {
    this.type = type;
    this.decoder = new TextDecoder();
    this.pre = make('pre', {className: type === 'text/html' ? 'text words' : 'text', role: 'log', tabIndex: 0});
    this.pre.setAttribute('aria-label', 'Answer');
    shown.append(this.pre);
  }
  add(piece) {
    const follows = this.pre.scrollHeight - this.pre.scrollTop - this.pre.clientHeight < 8;
    this.pre.append(this.decoder.decode(piece, {stream: true}));
    if (follows) this.pre.scrollTop = this.pre.scrollHeight;
  }
  async end(blob) {
    const whole = await blob.text();
    if (whole === '') this.pre.remove();
    if (this.type !== 'text/html' || !/^\s*<(!doctype|html|head|body|div|p|h\d|table|ul|ol|pre|svg|style)\b/i.test(whole)) return;
    const button = make('button', {type: 'button'}, 'Show as a page');
    button.onclick = () => {
      const frame = make('iframe', {title: 'Answer as a page', srcdoc: whole});
      frame.setAttribute('sandbox', '');
      button.replaceWith(frame);
    };
    shown.append(button);
  }
}

const isRow = (value) => value !== null && typeof value === 'object' && !Array.isArray(value);
const MOST_ROWS = 1000;

class Table {
  constructor() {
    this.columns = [];
    this.count = 0;
    this.head = make('tr');
    this.body = make('tbody');
    this.more = make('p', {className: 'soft', hidden: true});
    const table = make('table', {}, make('thead', {}, this.head), this.body);
    this.box = make('div', {className: 'scroll', tabIndex: 0, role: 'region'}, table);
    this.box.setAttribute('aria-label', 'Table');
    shown.append(this.box, this.more);
  }
  row(values) {
    this.count += 1;
    if (this.count > MOST_ROWS) {
      this.more.hidden = false;
      this.more.textContent = `The first ${MOST_ROWS} rows of ${this.count}`;
      return;
    }
    for (const name of Object.keys(values)) {
      if (!this.columns.includes(name)) {
        this.columns.push(name);
        this.head.append(make('th', {scope: 'col', className: typeof values[name] === 'number' ? 'number' : ''}, name));
      }
    }
    const follows = this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < 8;
    this.body.append(make('tr', {}, ...this.columns.map((name) => {
      const value = values[name];
      const cell = value === undefined || value === null ? '' : text(value);
      return make('td', {className: typeof value === 'number' ? 'number' : ''}, cell);
    })));
    if (follows && this.count > 1) this.box.scrollTop = this.box.scrollHeight;
  }
}

// JSON lines: rows of a table as long as they are objects, else lines.
class Lines {
  constructor() {
    this.decoder = new TextDecoder();
    this.rest = '';
  }
  add(piece) {
    const lines = (this.rest + this.decoder.decode(piece, {stream: true})).split('\n');
    this.rest = lines.pop();
    lines.filter((line) => line.trim() !== '').forEach((line) => this.line(line));
  }
  line(line) {
    const value = JSON.parse(line);
    if (isRow(value)) {
      this.table ??= new Table();
      this.table.row(value);
      return;
    }
    if (this.pre === undefined) {
      this.pre = make('pre', {className: 'text', role: 'log'});
      shown.append(this.pre);
    }
    this.pre.append(`${JSON.stringify(value)}\n`);
  }
  end() {
    if (this.rest.trim() !== '') this.line(this.rest);
  }
}

// What is looked at when it is there as a whole.
class Whole {
  constructor(type) {
    this.type = type;
  }
  add() {}
  async end(blob) {
    const kind = this.type.split('/')[0];
    if (this.type === 'application/json') showJson(await blob.text());
    else if (this.type === 'text/csv') showCsv(await blob.text());
    else if (kind === 'image') shown.append(make('img', {src: urlOf(blob), alt: `The answer of ${spec.name}`}));
    else if (kind === 'video') shown.append(make('video', {src: urlOf(blob), controls: true}));
  }
}

function showJson(whole) {
  let value;
  try {
    value = JSON.parse(whole);
  } catch {
    shown.append(make('pre', {className: 'text'}, whole));
    return;
  }
  if (Array.isArray(value) && value.length > 0 && value.every(isRow)) {
    const table = new Table();
    value.forEach((row) => table.row(row));
    table.box.scrollTop = 0;
  } else {
    shown.append(make('pre', {className: 'text', tabIndex: 0}, JSON.stringify(value, null, 2)));
  }
}

// RFC 4180, the first line being names.
function showCsv(whole) {
  const rows = [[]];
  for (const [, separator, quoted, plain] of whole.matchAll(/(,|\r?\n|^)(?:"((?:[^"]|"")*)"|([^",\r\n]*))/g)) {
    if (separator.endsWith('\n')) rows.push([]);
    rows.at(-1).push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
  }
  if (rows.at(-1).length === 1 && rows.at(-1)[0] === '') rows.pop();
  const names = rows.shift() ?? [];
  const table = new Table();
  for (const row of rows) {
    const cells = names.map((name, index) => [name, /^-?\d+(\.\d+)?$/.test(row[index]) ? number(row[index]) : row[index]]);
    table.row(Object.fromEntries(cells));
  }
  table.box.scrollTop = 0;
}

// Sound that is still being made plays meanwhile, if it is a WAV whose length nobody knows yet.
class Sound {
  constructor(type) {
    this.type = type;
    this.bytes = new Uint8Array(0);
    this.rate = 0;
    this.at = 0;
  }
  add(piece) {
    if (!['audio/wav', 'audio/x-wav'].includes(this.type)) return;
    const joined = new Uint8Array(this.bytes.length + piece.length);
    joined.set(this.bytes);
    joined.set(piece, this.bytes.length);
    this.bytes = joined;
    if (this.rate === 0 && joined.length >= 44) {
      const head = new DataView(joined.buffer);
      if (head.getUint32(40, true) !== 0xffffffff || head.getUint16(34, true) !== 16) {
        this.type = '';
        return;
      }
      this.channels = head.getUint16(22, true);
      this.rate = head.getUint32(24, true);
      this.context = new AudioContext({sampleRate: this.rate});
      this.bytes = joined.slice(44);
    }
    if (this.rate > 0) this.play();
  }
  play() {
    const frames = Math.floor(this.bytes.length / (2 * this.channels));
    if (frames === 0) return;
    const samples = new DataView(this.bytes.buffer, this.bytes.byteOffset);
    const buffer = this.context.createBuffer(this.channels, frames, this.rate);
    for (let channel = 0; channel < this.channels; channel += 1) {
      const data = buffer.getChannelData(channel);
      for (let i = 0; i < frames; i += 1) data[i] = samples.getInt16(2 * (i * this.channels + channel), true) / 32768;
    }
    this.bytes = this.bytes.slice(frames * 2 * this.channels);
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.context.destination);
    this.at = Math.max(this.at, this.context.currentTime + 0.05);
    source.start(this.at);
    this.at += buffer.duration;
  }
  stop() {
    this.context?.close();
    this.context = undefined;
  }
  async end(blob) {
    let sound = blob;
    if (this.rate > 0) {  // now its length is known
      const whole = await blob.arrayBuffer();
      const head = new DataView(whole);
      head.setUint32(4, whole.byteLength - 8, true);
      head.setUint32(40, whole.byteLength - 44, true);
      sound = new Blob([whole], {type: 'audio/wav'});
    }
    const player = make('audio', {src: urlOf(sound), controls: true});
    player.setAttribute('aria-label', `The answer of ${spec.name}`);
    player.onplay = () => this.stop();
    shown.append(player);
    return sound;
  }
}

// multipart/x-mixed-replace: the last picture that is complete.
class Pictures {
  constructor(type, full) {
    this.boundary = `\r\n--${/boundary="?([^";]+)/.exec(full)?.[1] ?? 'frame'}`;
    this.rest = '\r\n';
    this.image = make('img', {alt: `The answer of ${spec.name}`, hidden: true});
    shown.append(this.image);
  }
  add(piece) {
    for (const byte of chunked(piece)) this.rest += byte;
    let end;
    while ((end = this.rest.indexOf(this.boundary, this.boundary.length)) > 0) {
      const part = this.rest.slice(0, end);
      this.rest = this.rest.slice(end);
      const body = part.indexOf('\r\n\r\n', this.boundary.length);
      if (body > 0) this.show(part.slice(this.boundary.length, body), part.slice(body + 4));
    }
  }
  show(head, body) {
    const type = /content-type:\s*([^\r\n;]+)/i.exec(head)?.[1] ?? 'image/png';
    const blob = new Blob([Uint8Array.from(body, (one) => one.charCodeAt(0))], {type});
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = URL.createObjectURL(blob);
    this.image.src = this.url;
    this.image.hidden = false;
    this.last = blob;
  }
  end() {
    return this.last;
  }
}

// Bytes as characters, some thousands at a time.
function* chunked(piece) {
  for (let at = 0; at < piece.length; at += 8192) yield String.fromCharCode(...piece.subarray(at, at + 8192));
}

function viewOf(type, full) {
  if (type === 'multipart/x-mixed-replace') return new Pictures(type, full);
  if (type === 'application/x-ndjson') return new Lines();
  if (type.startsWith('audio/')) return new Sound(type);
  if (type !== 'text/csv' && (type.startsWith('text/') || type === 'application/xml')) return new Text(type);
  return new Whole(type);
}

function problem(title, detail) {
  const box = make('div', {className: 'problem', role: 'alert'}, make('strong', {}, title));
  if (detail) box.append(make('pre', {}, detail));
  shown.append(box);
}

async function refused(answer) {
  let title = `${answer.status} ${answer.statusText}`.trim();
  let detail = (await answer.text()).trim();
  if (answer.headers.get('Content-Type')?.startsWith('application/problem+json')) {
    const said = JSON.parse(detail);
    title = `${said.status} ${said.title}`;
    detail = said.detail;
  }
  problem(title, detail);
}

let running;
let sounds;

// Screen readers hear what has happened, and not each tenth of a second.
function say(words, busy = false, aloud = true) {
  state.textContent = words;
  state.classList.toggle('busy', busy);
  if (aloud) told.textContent = words;
}

async function call() {
  sounds?.stop();
  running?.abort();
  const abort = new AbortController();
  running = abort;
  clear();
  const began = performance.now();
  const seconds = () => `${((performance.now() - began) / 1000).toFixed(1)} s`;
  say('Running', true);
  cancel.disabled = false;
  state.scrollIntoView({block: 'nearest'});  // on a phone it is below the form
  let bytes = 0;
  let answered = false;
  const progress = () => (bytes ? `Running, ${seconds()}, ${size(bytes)}` : `Running, ${seconds()}`);
  const timer = setInterval(() => say(progress(), true, false), 100);
  try {
    const {body, headers} = request(values());
    const accept = 'image/png, application/problem+json, application/json;q=0.9, text/csv;q=0.6, */*;q=0.5';
    const answer = await fetch(url, {method: 'POST', body, headers: {...headers, Accept: accept}, signal: abort.signal});
    if (!answer.ok) {
      await refused(answer);
      say(`${answer.status < 500 ? 'Refused' : 'Failed'} after ${seconds()}`);
      return;
    }
    answered = true;
    const full = answer.headers.get('Content-Type') ?? '';
    const type = full.split(';')[0].trim().toLowerCase();
    const view = viewOf(type, full);
    if (view instanceof Sound) sounds = view;
    const pieces = [];
    for (const reader = answer.body.getReader(); ;) {
      const {done, value} = await reader.read();
      if (done) break;
      if (abort.signal.aborted) return;
      pieces.push(value);
      bytes += value.length;
      view.add(value);
    }
    let whole = new Blob(pieces, {type});
    if (bytes === 0) say(`Done in ${seconds()}: the answer is empty`);
    else {
      whole = (await view.end(whole)) ?? whole;
      const link = make('a', {href: urlOf(whole), download: fileName(answer, whole.type || type)}, 'Save');
      shown.append(make('p', {className: 'after'}, link, make('span', {className: 'soft'}, `${type || 'no type'}, ${size(whole.size)}`)));
      say(`Done in ${seconds()}`);
    }
  } catch (error) {
    if (abort.signal.aborted) {
      if (running === abort) say(`Cancelled after ${seconds()}`);
      return;
    }
    const broke = 'The function failed while it answered, or the connection did. The server\'s error log knows.';
    problem(answered ? 'The answer broke off' : 'No answer came', answered ? broke : String(error));
    say(`Failed after ${seconds()}`);
  } finally {
    clearInterval(timer);
    if (running === abort) cancel.disabled = true;
  }
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  call();
});
cancel.addEventListener('click', () => {
  running?.abort();
  sounds?.stop();
});
document.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    form.requestSubmit(run);
  }
  if (event.key === 'Escape' && !cancel.disabled) cancel.click();
});

// ---- files

const previews = new Map();
function preview(input) {
  const box = input.parentElement.querySelector('.preview');
  box.replaceChildren();
  (previews.get(input) ?? []).forEach((old) => URL.revokeObjectURL(old));
  const made = [];
  for (const file of input.files) {
    const tag = {image: 'img', audio: 'audio', video: 'video'}[file.type.split('/')[0]];
    if (tag === undefined) continue;
    const link = URL.createObjectURL(file);
    made.push(link);
    box.append(tag === 'img' ? make('img', {src: link, alt: file.name}) : make(tag, {src: link, controls: true}));
  }
  previews.set(input, made);
}

for (const input of form.querySelectorAll('input[type=file]')) {
  input.addEventListener('change', () => preview(input));
  for (const name of ['dragenter', 'dragover']) input.addEventListener(name, () => input.classList.add('over'));
  for (const name of ['dragleave', 'drop']) input.addEventListener(name, () => input.classList.remove('over'));
}

// A picture that is pasted goes to the first field that wants a file.
document.addEventListener('paste', (event) => {
  const input = form.querySelector('input[type=file]');
  if (input === null || event.clipboardData.files.length === 0) return;
  event.preventDefault();
  input.files = event.clipboardData.files;
  input.dispatchEvent(new Event('change', {bubbles: true}));
});

for (const range of form.querySelectorAll('input[type=range]')) {
  const exact = range.parentElement.querySelector('input[type=number]');
  range.addEventListener('input', () => {
    exact.value = range.value;
  });
  exact.addEventListener('input', () => {
    range.value = exact.value;
  });
}

// ---- the same call elsewhere

const sh = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
const atFile = (name) => (/[,;"\\\s]/.test(name) ? `@"${name.replace(/["\\]/g, '\\$&')}"` : `@${name}`);
const output = spec.output;

function curl(found) {
  const words = ['curl', spec.streams ? '-N' : '', sh(url)];
  if (!Object.values(found).some(isFile)) words.push('--json', sh(json(found)));
  else {
    for (const [name, value] of Object.entries(found)) {
      for (const one of each(value)) {
        words.push(...(one instanceof File ? ['-F', sh(`${name}=${atFile(one.name)}`)] : ['--form-string', sh(`${name}=${text(one)}`)]));
      }
    }
  }
  if (output) words.push('-o', sh(output));
  return words.filter(Boolean).join(' ');
}

function javascript(found) {
  const lines = [];
  let body = `JSON.stringify(${json(found)})`;
  let headers = "\n  headers: {'Content-Type': 'application/json'},";
  if (Object.values(found).some((value) => typeof value === 'bigint')) body = JSON.stringify(json(found));
  if (Object.values(found).some(isFile)) {
    lines.push('// for Node; in a page, a file is what an <input type=file> has in its files');
    lines.push("import {openAsBlob} from 'node:fs';", '', 'const body = new FormData();');
    for (const [name, value] of Object.entries(found)) {
      for (const one of each(value)) {
        const file = one instanceof File ? JSON.stringify(one.name) : '';
        const plain = JSON.stringify(text(one));
        const what = file ? `await openAsBlob(${file}), ${file}` : keepsLines(name, one) ? `new Blob([${plain}])` : plain;
        lines.push(`body.append(${JSON.stringify(name)}, ${what});`);
      }
    }
    body = 'body';
    headers = '';
  }
  lines.push(`const answer = await fetch(${JSON.stringify(url)}, {`, `  method: 'POST',${headers}`);
  lines.push(body === 'body' ? '  body,' : `  body: ${body},`, '});');
  if (output) lines.push('const blob = await answer.blob();', 'console.log(blob.type, blob.size);');
  else if (spec.streams) {
    lines.push('for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {', '  console.log(piece);', '}');
  } else lines.push('console.log(await answer.text());');
  return lines.join('\n');
}

function literal(value) {
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (Array.isArray(value)) return `[${value.map(literal).join(', ')}]`;
  if (typeof value === 'object') {
    return `{${Object.entries(value).map(([key, one]) => `${JSON.stringify(key)}: ${literal(one)}`).join(', ')}}`;
  }
  return typeof value === 'string' ? JSON.stringify(value) : String(value);
}

function python(found) {
  if (Object.values(found).some(isFile)) return pythonForm(found);
  const lines = ['import json', ...(output || !spec.streams ? [] : ['import sys']), 'import urllib.request', ''];
  if (output) lines.splice(1, 0, 'import pathlib');
  lines.push('request = urllib.request.Request(', `    ${JSON.stringify(url)},`, `    json.dumps(${literal(found)}).encode(),`);
  lines.push('    {"Content-Type": "application/json"},', ')', 'with urllib.request.urlopen(request) as answer:');
  if (output) lines.push(`    pathlib.Path(${JSON.stringify(output)}).write_bytes(answer.read())`);
  else if (spec.streams) {
    lines.push('    while piece := answer.read1():', '        sys.stdout.buffer.write(piece)', '        sys.stdout.flush()');
  } else lines.push('    print(answer.read().decode())');
  return lines.join('\n');
}

function pythonForm(found) {
  const data = [];
  const files = [];
  for (const [name, value] of Object.entries(found)) {
    const key = JSON.stringify(name);
    if (isFile(value)) for (const one of each(value)) files.push(`(${key}, open(${JSON.stringify(one.name)}, "rb"))`);
    else data.push(`${key}: ${Array.isArray(value) ? literal(value.map(text)) : JSON.stringify(text(value))}`);
  }
  const lines = [...(output ? ['import pathlib', ''] : []), 'import httpx  # pip install httpx', '', 'answer = httpx.post('];
  lines.push(`    ${JSON.stringify(url)},`, ...(data.length ? [`    data={${data.join(', ')}},`] : []));
  lines.push(`    files=[${files.join(', ')}],`, '    timeout=None,', ')');
  lines.push(output ? `pathlib.Path(${JSON.stringify(output)}).write_bytes(answer.content)` : 'print(answer.text)');
  return lines.join('\n');
}

const copies = {curl, javascript, python};
const tabs = [...document.querySelectorAll('[role=tab]')];
const code = document.querySelector('.copies pre');
const copied = document.querySelector('.copied');

function write() {
  fields.forEach(check);
  const tab = tabs.find((one) => one.getAttribute('aria-selected') === 'true');
  try {
    code.textContent = copies[tab.dataset.copy](values());
  } catch {  // a field holds no JSON yet
  }
}

function choose(tab) {
  for (const one of tabs) {
    one.setAttribute('aria-selected', String(one === tab));
    one.tabIndex = one === tab ? 0 : -1;
  }
  code.setAttribute('aria-labelledby', tab.id);
  write();
}

for (const tab of tabs) {
  tab.addEventListener('click', () => choose(tab));
  tab.addEventListener('keydown', (event) => {
    const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
    if (step === undefined) return;
    const next = tabs.at((tabs.indexOf(tab) + step) % tabs.length);
    choose(next);
    next.focus();
  });
}

document.querySelector('.copy').addEventListener('click', async () => {
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {  // no secure context
    getSelection().selectAllChildren(code);
    document.execCommand('copy');
  }
  copied.textContent = 'Copied';
  setTimeout(() => {
    copied.textContent = '';
  }, 2000);
});

form.addEventListener('input', write);
form.addEventListener('change', write);
form.addEventListener('reset', () => setTimeout(write));
cancel.disabled = true;
write();
