'use strict';
// What pages of owt's own have in common: they show what an answer is made of as it comes, in `.shown`, and say in
// `.state` how it goes. A script of the page itself stands behind this one, in the same <script>.

const state = document.querySelector('.state');
const told = document.querySelector('.told');
const shown = document.querySelector('.shown');
// What the answer is called, where it has no words of its own, and as a file; and whether HTML is shown as a page at once.
const called = {name: 'answer', shows: false};

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

// Whole numbers of any size stay what they are.
function number(text) {
  const whole = /^-?\d+$/.test(text) ? BigInt(text) : null;
  if (whole === null) return Number(text);
  return whole > Number.MAX_SAFE_INTEGER || whole < Number.MIN_SAFE_INTEGER ? whole : Number(whole);
}

// Numbers of JSON that JavaScript would write otherwise, as 1.0 or 12345678901234567890: they stay what they are too, in
// browsers that can do that.
const isExact = (value) => JSON.isRawJSON?.(value) ?? false;
const isNumber = (value) => typeof value === 'number' || isExact(value);
const parsed = (words) => JSON.parse(words, (_, value, {source} = {}) => (
  typeof value === 'number' && source !== undefined && String(value) !== source ? JSON.rawJSON(source) : value));

function json(value, key = JSON.stringify) {
  if (typeof value === 'bigint') return String(value);
  if (isExact(value)) return value.rawJSON;
  if (Array.isArray(value)) return `[${value.map((one) => json(one, key)).join(', ')}]`;
  if (value !== null && typeof value === 'object') {
    return `{${Object.entries(value).map(([name, one]) => `${key(name)}: ${json(one, key)}`).join(', ')}}`;
  }
  return JSON.stringify(value);
}

const isFile = (value) => value instanceof File || (Array.isArray(value) && value[0] instanceof File);

const each = (value) => (Array.isArray(value) ? value : [value]);
const text = (value) => (value !== null && typeof value === 'object' ? json(value) : String(value));

// Screen readers hear what has happened, and not each tenth of a second.
function say(words, busy = false, aloud = true) {
  state.textContent = words;
  state.classList.toggle('busy', busy);
  if (aloud) told.textContent = words;
}

// ---- what comes back

// Of what shows itself in several ways, pictures first.
const accepted = 'image/png, application/problem+json, application/json;q=0.9, text/csv;q=0.6, */*;q=0.5';

const sizes = ['bytes', 'kB', 'MB', 'GB'];
function size(bytes) {
  const step = Math.min(sizes.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(bytes, 1)) / 3)));
  return `${step === 0 ? bytes : (bytes / 1000 ** step).toFixed(1)} ${bytes === 1 ? 'byte' : sizes[step]}`;
}

const ends = {
  __proto__: null,
  'application/json': 'json', 'application/x-ndjson': 'ndjson', 'text/csv': 'csv', 'text/html': 'html',
  'text/plain': 'txt', 'image/png': 'png', 'image/jpeg': 'jpg', 'image/svg+xml': 'svg', 'image/gif': 'gif',
  'image/webp': 'webp', 'audio/wav': 'wav', 'audio/mpeg': 'mp3', 'audio/ogg': 'ogg', 'video/mp4': 'mp4',
  'application/pdf': 'pdf', 'application/zip': 'zip',
};

function fileName(disposition, type) {
  const said = /filename="?([^";]+)"?/.exec(disposition);
  return said ? said[1] : `${called.name}.${ends[type] ?? 'bin'}`;
}

const urls = [];
function urlOf(blob) {
  urls.push(URL.createObjectURL(blob));
  return urls.at(-1);
}

// Where an answer is shown from. XML may hold scripts. Opened by itself, out of this page's policy, what has a blob's
// address would run them as this page's own; what has all of it in its address runs them as nobody's.
const isXml = (type) => /xml/i.test(type);
const dataOf = (bytes) => `data:image/svg+xml;base64,${btoa(bytes)}`;
async function addressOf(blob) {
  if (!isXml(blob.type)) return urlOf(blob);
  return dataOf([...chunked(new Uint8Array(await blob.arrayBuffer()))].join(''));
}

function clear() {
  shown.replaceChildren();
  while (urls.length > 0) URL.revokeObjectURL(urls.pop());
}

// Text that grows at its end, as much of it as can be looked at: once a frame, whatever comes meanwhile. made: what
// becomes of all of it before it is shown.
class Tail {
  constructor(pre, most, made = (words) => words) {
    Object.assign(this, {pre, most, made, text: '', seen: '', cut: false});
  }
  add(words) {
    this.text += words;
    if (this.text.length > 2 * this.most) this.trim();
    this.frame ??= requestAnimationFrame(() => this.flush());
  }
  trim() {
    this.text = this.made(this.text);
    this.cut ||= this.text.length > this.most;
    this.text = this.text.slice(-this.most);
  }
  flush() {
    cancelAnimationFrame(this.frame);
    this.frame = undefined;
    this.trim();
    const {pre, seen, text} = this;
    if (text === seen) return;
    const follows = pre.scrollHeight - pre.scrollTop - pre.clientHeight < 8;
    // A part of its own is what a screen reader reads, and what is selected stays.
    if (text.startsWith(seen)) pre.append(text.slice(seen.length));
    else pre.textContent = text;
    if (follows) pre.scrollTop = pre.scrollHeight;
    this.seen = text;
  }
}

// The one place where text becomes markup: a frame in which nothing runs.
const markup = globalThis.trustedTypes?.createPolicy('owt', {createHTML: (words) => words}) ?? {createHTML: (words) => words};

// A view takes pieces of an answer's body and shows them; end() gets all of it at last.

const MOST_TEXT = 200_000;

class Text {
  constructor(type) {
    this.type = type;
    this.decoder = new TextDecoder();
    this.pre = make('pre', {className: type === 'text/html' ? 'text words' : 'text', role: 'log', tabIndex: 0});
    this.pre.setAttribute('aria-label', 'Answer');
    this.tail = new Tail(this.pre, MOST_TEXT);
    shown.append(this.pre);
  }
  add(piece) {
    this.tail.add(this.decoder.decode(piece, {stream: true}));
  }
  stop() {
    this.tail.flush();
    if (this.tail.cut) this.pre.after(make('p', {className: 'soft'}, 'This is the end of it.'));
  }
  async end(blob) {
    this.stop();
    const whole = await blob.text();
    if (whole === '') this.pre.remove();
    if (this.type !== 'text/html' || !/^\s*<(!doctype|html|head|body|div|p|h\d|table|ul|ol|pre|svg|style)\b/i.test(whole)) return;
    const button = make('button', {type: 'button'}, 'Show as a page');
    button.onclick = () => {
      const frame = make('iframe', {title: 'Answer as a page'});
      frame.setAttribute('sandbox', '');
      frame.srcdoc = markup.createHTML(whole);
      button.replaceWith(frame);
    };
    shown.append(button);
    if (!called.shows) return;
    button.click();
    const source = make('details', {}, make('summary', {}, 'Its source'));
    source.append(this.pre);
    shown.append(source);
  }
}

const isRow = (value) => value !== null && typeof value === 'object' && !Array.isArray(value) && !isExact(value);
const MOST_ROWS = 1000;

class Table {
  constructor() {
    this.columns = new Set();
    this.count = 0;
    this.head = make('tr');
    this.body = make('tbody');
    this.more = make('p', {className: 'soft', hidden: true});
    const table = make('table', {}, make('thead', {}, this.head), this.body);
    this.box = make('div', {className: 'scroll', tabIndex: 0, role: 'region'}, table);
    this.box.setAttribute('aria-label', 'Table');
    shown.append(this.box, this.more);
  }
  column(name, value) {
    this.head.append(make('th', {scope: 'col', className: isNumber(value) ? 'number' : ''}, name));
  }
  row(values) {
    for (const name of this.count < MOST_ROWS ? Object.keys(values) : []) {
      if (!this.columns.has(name)) {
        this.columns.add(name);
        this.column(name, values[name]);
      }
    }
    this.cells([...this.columns].map((name) => (Object.hasOwn(values, name) ? values[name] : undefined)));
  }
  cells(values) {
    this.count += 1;
    if (this.count > MOST_ROWS) {
      this.more.hidden = false;
      this.more.textContent = `The first ${MOST_ROWS} rows of ${this.count}`;
      return;
    }
    const follows = this.box.scrollHeight - this.box.scrollTop - this.box.clientHeight < 8;
    this.body.append(make('tr', {}, ...values.map((value) => {
      const cell = value === undefined || value === null ? '' : text(value);
      return make('td', {className: isNumber(value) ? 'number' : ''}, cell);
    })));
    if (follows && this.count > 1) this.box.scrollTop = this.box.scrollHeight;
  }
}

// JSON lines: rows of a table as long as they are objects, else lines. What is no JSON is shown as it is.
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
    let value;
    try {
      value = parsed(line);
    } catch {
      value = undefined;
    }
    if (isRow(value)) {
      this.table ??= new Table();
      this.table.row(value);
      return;
    }
    if (this.pre === undefined) {
      this.pre = make('pre', {className: 'text', role: 'log'});
      shown.append(this.pre);
    }
    this.pre.append(`${value === undefined ? line : JSON.stringify(value)}\n`);
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
    else if (kind === 'image') shown.append(make('img', {src: await addressOf(blob), alt: `The answer of ${called.name}`}));
    else if (kind === 'video') shown.append(make('video', {src: await addressOf(blob), controls: true, 'aria-label': `The answer of ${called.name}`}));
  }
}

function showJson(whole) {
  let value;
  try {
    value = parsed(whole);
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
  for (const [, separator, quoted, plain] of whole.matchAll(/(,|\r?\n|^)(?:"((?:[^"]|"")*)(?:"|$)|([^",\r\n]*))/g)) {
    if (separator.endsWith('\n')) rows.push([]);
    rows.at(-1).push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
  }
  if (rows.at(-1).length === 1 && rows.at(-1)[0] === '') rows.pop();
  const names = rows.shift() ?? [];
  const table = new Table();
  const cells = rows.map((row) => names.map((_, index) => (/^-?\d+(\.\d+)?$/.test(row[index]) ? number(row[index]) : row[index])));
  names.forEach((name, index) => table.column(name, cells[0]?.[index]));
  cells.forEach((row) => table.cells(row));
  table.box.scrollTop = 0;
}

// Sound that is still being made plays meanwhile, if it is a WAV whose length nobody knows yet.
class Sound {
  static last;
  static stop() {
    Sound.last?.stop();
  }
  constructor(type) {
    Sound.last = this;
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
    const player = make('audio', {src: await addressOf(sound), controls: true});
    player.setAttribute('aria-label', `The answer of ${called.name}`);
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
    this.image = make('img', {alt: `The answer of ${called.name}`, hidden: true});
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
    this.url = isXml(type) ? dataOf(body) : URL.createObjectURL(blob);
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

// An answer, of which the head is known.
class Answer {
  constructor(full, disposition) {
    this.disposition = disposition;
    this.type = full.split(';')[0].trim().toLowerCase();
    this.view = viewOf(this.type, full);
    this.pieces = [];
    this.bytes = 0;
  }
  add(piece) {
    this.pieces.push(piece);
    this.bytes += piece.length;
    this.view.add(piece);
  }
  // It broke off: what has come is all there is.
  stop() {
    this.view.stop?.();
  }
  // False if it is empty.
  async end() {
    let whole = new Blob(this.pieces, {type: this.type});
    if (this.bytes === 0) return false;
    whole = (await this.view.end(whole)) ?? whole;
    // Of no type that a browser would open instead.
    const saved = urlOf(new Blob([whole], {type: 'application/octet-stream'}));
    const link = make('a', {href: saved, download: fileName(this.disposition, whole.type || this.type)}, 'Save');
    shown.append(make('p', {className: 'after'}, link, make('span', {className: 'soft'}, `${this.type || 'no type'}, ${size(whole.size)}`)));
    return true;
  }
}

function problem(title, detail) {
  const box = make('div', {className: 'problem', role: 'alert'}, make('strong', {}, title));
  if (detail) box.append(make('pre', {}, detail));
  shown.append(box);
  return box;
}

async function refused(answer, tell = problem) {
  let title = `${answer.status} ${answer.statusText}`.trim();
  let detail = (await answer.text()).trim();
  if (answer.headers.get('Content-Type')?.startsWith('application/problem+json')) {
    const said = JSON.parse(detail);
    title = `${said.status} ${said.title}`;
    detail = said.detail;
  }
  tell(title, detail);
}
