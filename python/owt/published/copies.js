'use strict';
// The same call as text for elsewhere, in the tabs of `.copies`. Of a call there are: `url`; `values` by name, in which
// a File is one to upload and Source is Python; `streams`, whether pieces of its answer are worth seeing; `output`, a
// file's name for an answer that nobody wants in a terminal; `keeps(name, text)`, whether ends of lines are to stay.

class Source {
  constructor(text) {
    this.text = text;
  }
}

const sh = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
// A file called - would be curl's own input.
const atFile = (name) => (name === '-' ? '@./-' : /[,;"\\\s]/.test(name) ? `@"${name.replace(/["\\]/g, '\\$&')}"` : `@${name}`);
const quoted = (value) => JSON.stringify(value);
// JSON as JavaScript has it, where a member of this name would be something else.
const member = (name) => (name === '__proto__' ? '["__proto__"]' : quoted(name));
const inJavascript = (value) => json(value, member);

const sourceOf = (values) => Object.entries(values).find(([, value]) => value instanceof Source);
// As a form: files cannot be sent otherwise.
const isForm = (values) => Object.values(values).some(isFile);
const entries = (values) => Object.entries(values).flatMap(([name, value]) => each(value).map((one) => [name, one]));

function curl(call) {
  const words = ['curl', call.streams ? '-N' : '', /[[\]{}]/.test(call.url) ? '-g' : '', sh(call.url)];
  const source = sourceOf(call.values);
  if (!isForm(call.values) && !source) words.push('--json', sh(json(call.values)));
  else {
    for (const [name, one] of entries(call.values)) {
      if (one instanceof File) words.push('-F', sh(`${name}=${atFile(one.name)}`));
      else words.push('--form-string', sh(`${name}=${one instanceof Source ? one.text : text(one)}`));
    }
  }
  if (call.output) words.push('-o', sh(call.output));
  return words.filter(Boolean).join(' ');
}

// Whether there are numbers in it that JavaScript would change.
const isBeyond = (value) => typeof value === 'bigint' || isExact(value) ||
  (value !== null && typeof value === 'object' && !(value instanceof Source) && Object.values(value).some(isBeyond));

// Such numbers make all of it a text.
function bodyInJavascript(values) {
  const source = sourceOf(values);
  if (!isBeyond(values)) {
    const members = Object.entries(values).map(([name, value]) => `${member(name)}: ${value instanceof Source ? name : inJavascript(value)}`);
    return `JSON.stringify({${members.join(', ')}})`;
  }
  if (!source) return quoted(json(values));
  const {[source[0]]: _, ...others} = values;
  return `${quoted(`{${quoted(source[0])}: `)} + JSON.stringify(${source[0]}) + ${quoted(`, ${json(others).slice(1)}`)}`;
}

function javascript(call) {
  const lines = [];
  const source = sourceOf(call.values);
  const form = isForm(call.values);
  if (form) {
    lines.push('// for Node; in a page, a file is what an <input type=file> has in its files');
    lines.push("import {openAsBlob} from 'node:fs';", '');
  }
  if (source) lines.push(`const ${source[0]} = \`${source[1].text.replace(/[\\`]|\$(?=\{)/g, '\\$&')}\`;`, '');
  if (form) {
    lines.push('const body = new FormData();');
    for (const [name, one] of entries(call.values)) {
      const file = one instanceof File ? quoted(one.name) : '';
      const plain = quoted(text(one));
      let what = plain;
      if (file) what = `await openAsBlob(${file}), ${file}`;
      else if (one instanceof Source) what = `new Blob([${name}]), '${name}.py'`;
      else if (call.keeps(name, one)) what = `new Blob([${plain}])`;
      lines.push(`body.append(${quoted(name)}, ${what});`);
    }
  }
  const headers = form ? '' : "\n  headers: {'Content-Type': 'application/json'},";
  lines.push(`const answer = await fetch(${quoted(call.url)}, {`, `  method: 'POST',${headers}`);
  lines.push(form ? '  body,' : `  body: ${bodyInJavascript(call.values)},`, '});');
  if (call.output) lines.push('const blob = await answer.blob();', 'console.log(blob.type, blob.size);');
  else if (call.streams) {
    lines.push('for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {', '  console.log(piece);', '}');
  } else lines.push('console.log(await answer.text());');
  return lines.join('\n');
}

function literal(value) {
  if (value === null) return 'None';
  if (isExact(value)) return value.rawJSON;
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (Array.isArray(value)) return `[${value.map(literal).join(', ')}]`;
  if (typeof value === 'object') {
    return `{${Object.entries(value).map(([key, one]) => `${quoted(key)}: ${literal(one)}`).join(', ')}}`;
  }
  return typeof value === 'string' ? quoted(value) : String(value);
}

// As it is between three quotes, if it may stand there.
function sourceInPython({text}) {
  for (const quotes of ["'''", '"""']) {
    if (!text.includes(quotes) && !/['"\\]$/.test(text) && !/[\r\0]/.test(text)) return `r${quotes}${text}${quotes}`;
  }
  return quoted(text);
}

function python(call) {
  const source = sourceOf(call.values);
  const form = isForm(call.values);
  const lines = [];
  if (form) lines.push(...(call.output ? ['import pathlib', ''] : []), 'import httpx  # pip install httpx', '');
  else lines.push('import json', ...(call.output ? ['import pathlib'] : call.streams ? ['import sys'] : []), 'import urllib.request', '');
  if (source) lines.push(`${source[0]} = ${sourceInPython(source[1])}`, '');
  lines.push(...(form ? formInPython(call) : jsonInPython(call)));
  return lines.join('\n');
}

function jsonInPython({url, values, output, streams}) {
  const members = Object.entries(values).map(([name, value]) => `${quoted(name)}: ${value instanceof Source ? name : literal(value)}`);
  const lines = ['request = urllib.request.Request(', `    ${quoted(url)},`, `    json.dumps({${members.join(', ')}}).encode(),`];
  lines.push('    {"Content-Type": "application/json"},', ')', 'with urllib.request.urlopen(request) as answer:');
  if (output) lines.push(`    pathlib.Path(${quoted(output)}).write_bytes(answer.read())`);
  else if (streams) {
    lines.push('    while piece := answer.read1():', '        sys.stdout.buffer.write(piece)', '        sys.stdout.flush()');
  } else lines.push('    print(answer.read().decode())');
  return lines;
}

function formInPython({url, values, output}) {
  const data = [];
  const files = [];
  for (const [name, value] of Object.entries(values)) {
    const key = quoted(name);
    if (isFile(value)) for (const one of each(value)) files.push(`(${key}, open(${quoted(one.name)}, "rb"))`);
    else if (value instanceof Source) data.push(`${key}: ${name}`);
    else data.push(`${key}: ${Array.isArray(value) ? literal(value.map(text)) : quoted(text(value))}`);
  }
  const lines = ['answer = httpx.post(', `    ${quoted(url)},`, ...(data.length ? [`    data={${data.join(', ')}},`] : [])];
  lines.push(`    files=[${files.join(', ')}],`, '    timeout=None,', ')');
  lines.push(output ? `pathlib.Path(${quoted(output)}).write_bytes(answer.content)` : 'print(answer.text)');
  return lines;
}

// ---- the tabs

const tabs = [...document.querySelectorAll('[role=tab]')];
const copy = document.querySelector('.copies pre');
const copied = document.querySelector('.copied');

// Each way of writing makes the tab's text, of what the page asks for now; undefined leaves the text as it is.
function offer(ways, asked) {
  function write() {
    const call = asked();
    const tab = tabs.find((one) => one.getAttribute('aria-selected') === 'true');
    if (call) copy.textContent = ways[tab.dataset.copy](call);
  }

  function choose(tab) {
    for (const one of tabs) {
      one.setAttribute('aria-selected', String(one === tab));
      one.tabIndex = one === tab ? 0 : -1;
    }
    copy.setAttribute('aria-labelledby', tab.id);
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
  return write;
}

document.querySelector('.copy').addEventListener('click', async () => {
  try {
    await navigator.clipboard.writeText(copy.textContent);
  } catch {  // no secure context
    getSelection().selectAllChildren(copy);
    document.execCommand('copy');
  }
  copied.textContent = 'Copied';
  setTimeout(() => {
    copied.textContent = '';
  }, 2000);
});
