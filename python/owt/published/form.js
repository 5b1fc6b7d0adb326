'use strict';
// The form calls the function that it is about, at the page's own address, and shows what comes as it comes.

const form = document.querySelector('form');
const spec = JSON.parse(form.dataset.spec);
const fields = [...form.querySelectorAll('.field')];
const run = form.querySelector('.run');
const cancel = form.querySelector('.cancel');
const url = location.origin + location.pathname;
called.name = spec.name.split('/').pop();

// ---- what the fields hold

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
      return input.value.trim() === '' ? undefined : parsed(input.value);
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

// The arguments by name; what is as it would be anyhow is left out.
function values() {
  const found = {__proto__: null};
  for (const field of fields) {
    const value = valueOf(field);
    if (value === undefined) continue;
    const usual = field.dataset.default;
    if ('optional' in field.dataset) {
      if (Array.isArray(value) && value.length === 0 && (usual === undefined || usual === '[]')) continue;
      if (!isFile(value) && usual !== undefined && [JSON.parse(usual), parsed(usual)].some((one) => json(value) === json(one))) continue;
    }
    found[field.dataset.name] = value;
  }
  return found;
}

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

let running;

async function call() {
  Sound.stop();
  running?.abort();
  const abort = new AbortController();
  running = abort;
  clear();
  const began = performance.now();
  const seconds = () => `${((performance.now() - began) / 1000).toFixed(1)} s`;
  say('Running', true);
  cancel.disabled = false;
  state.scrollIntoView({block: 'nearest'});  // on a phone it is below the form
  let answer;
  const progress = () => (answer?.bytes ? `Running, ${seconds()}, ${size(answer.bytes)}` : `Running, ${seconds()}`);
  const timer = setInterval(() => say(progress(), true, false), 100);
  try {
    const {body, headers} = request(values());
    const response = await fetch(url, {method: 'POST', body, headers: {...headers, Accept: accepted}, signal: abort.signal});
    if (!response.ok) {
      await refused(response);
      say(`${response.status < 500 ? 'Refused' : 'Failed'} after ${seconds()}`);
      return;
    }
    answer = new Answer(response.headers.get('Content-Type') ?? '', response.headers.get('Content-Disposition') ?? '');
    for (const reader = response.body.getReader(); ;) {
      const {done, value} = await reader.read();
      if (done) break;
      if (abort.signal.aborted) return;
      answer.add(value);
    }
    const empty = !(await answer.end());
    say(empty ? `Done in ${seconds()}: the answer is empty` : `Done in ${seconds()}`);
  } catch (error) {
    answer?.stop();
    if (abort.signal.aborted) {
      if (running === abort) say(`Cancelled after ${seconds()}`);
      return;
    }
    const broke = 'The function failed while it answered, or the connection did. The server\'s error log knows.';
    problem(answer ? 'The answer broke off' : 'No answer came', answer ? broke : String(error));
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
  Sound.stop();
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

function asked() {
  fields.forEach(check);
  try {
    const found = values();
    // A file that has yet to be chosen is there by name, so that the call says how it is sent.
    for (const field of fields) {
      const {kind, name} = field.dataset;
      if (kind === 'file' && !('optional' in field.dataset) && !(name in found)) found[name] = new File([], 'FILE');
    }
    return {url, values: found, streams: spec.streams, output: spec.output, keeps: keepsLines};
  } catch {  // a field holds no JSON yet
    return undefined;
  }
}

const write = offer({curl, javascript, python}, asked);
form.addEventListener('input', write);
form.addEventListener('change', write);
form.addEventListener('reset', () => setTimeout(write));
cancel.disabled = true;
write();
