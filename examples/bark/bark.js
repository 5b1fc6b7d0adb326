// Sends bark.py with the text, and plays the sentences one after the other as they arrive.
//
// What goes on can be read from <main>: data-state is idle, waiting (for the first sentence), speaking (more are being
// made), playing (all are there), done, stopped or failed; data-made and data-heard are seconds of sound.

'use strict';

const main = document.querySelector('main');
const form = document.querySelector('form');
const button = document.querySelector('button');
const [says, clock] = document.querySelectorAll('#status span');
const progress = document.querySelector('progress');
const canvas = document.querySelector('canvas');
const words = document.querySelector('#text');
const problem = document.querySelector('#error');
const result = document.querySelector('#result');

const LANGUAGES = {
  en: 'English', de: 'Deutsch', es: 'Español', fr: 'Français', hi: 'हिन्दी', it: 'Italiano', ja: '日本語', ko: '한국어',
  pl: 'Polski', pt: 'Português', ru: 'Русский', tr: 'Türkçe', zh: '中文',
};
const HEADER = 44;  // bytes before a WAV's samples
const BROKEN = "The answer broke off: the server's error log says why.";

for (const [code, language] of Object.entries(LANGUAGES)) {
  const group = document.createElement('optgroup');
  group.label = language;
  for (let number = 0; number < 10; number++) {
    const speaker = `v2/${code}_speaker_${number}`;
    group.append(new Option(`${language} ${number}`, speaker, speaker === 'v2/en_speaker_6', speaker === 'v2/en_speaker_6'));
  }
  form.speaker.append(group);
}

// The code is a file beside this page, or lies in it if a URL has brought both: then code runs where that URL points.
const adaptor = document.querySelector('#adaptor');
const endpoint = adaptor.src ? '/bark' : location.pathname;
async function code() {
  if (!adaptor.src) return adaptor.textContent;
  const answer = await fetch(adaptor.src, {cache: 'no-cache'});  // it may have been edited
  if (!answer.ok) throw new Error(`${adaptor.src}: ${answer.status}`);
  return answer.text();
}

// ---- sound ----------------------------------------------------------------------------------------------------------

// Speech as it arrives: 16-bit samples in pieces, each played when the one before ends.
class Speech {
  constructor() {
    this.context = new AudioContext();
    this.pieces = [];  // {wav, samples, rate, seconds, starts: on the context's clock, begins: in the speech}
    this.made = 0;
  }

  // Takes a WAV as owt.lib.audio makes it: mono, 16 bits, a header of 44 bytes.
  add(wav) {
    const rate = new DataView(wav.buffer).getUint32(24, true);
    const samples = Float32Array.from(new Int16Array(wav.buffer, HEADER), sample => sample / 32768);
    const seconds = samples.length / rate;
    this.header ??= wav.slice(0, HEADER);
    const last = this.pieces.at(-1);
    const starts = Math.max(this.context.currentTime + 0.05, last ? last.starts + last.seconds : 0);
    this.pieces.push({wav, samples, rate, seconds, starts, begins: this.made});
    this.made += seconds;
    if (!samples.length) return;
    const source = this.context.createBufferSource();
    source.buffer = this.context.createBuffer(1, samples.length, rate);
    source.buffer.copyToChannel(samples, 0);
    source.connect(this.context.destination);
    source.start(starts);
  }

  // Seconds that have been heard, pauses between pieces left out.
  get heard() {
    const now = this.context.currentTime;
    const piece = this.pieces.findLast(({starts}) => starts <= now);
    return piece ? piece.begins + Math.min(now - piece.starts, piece.seconds) : 0;
  }

  // Everything so far as one WAV, whose header says how long it is.
  file() {
    const pcm = this.pieces.map(({wav}) => wav.subarray(HEADER));
    const size = pcm.reduce((sum, {length}) => sum + length, 0);
    const lengths = new DataView(this.header.buffer);
    lengths.setUint32(4, HEADER - 8 + size, true);
    lengths.setUint32(40, size, true);
    return new Blob([this.header, ...pcm], {type: 'audio/wav'});
  }
}

// ---- the call -------------------------------------------------------------------------------------------------------

// The data of each event. EventSource would reconnect, and run the model again.
async function* events(answer) {
  const reader = answer.body.getReader();
  const decoder = new TextDecoder();
  let text = '';
  for (;;) {
    // A browser drops what it has not read, perhaps the reason, when an answer breaks off.
    const {done, value} = await reader.read().catch(() => ({done: true}));
    if (done) throw new Error(BROKEN);
    const parts = (text + decoder.decode(value, {stream: true})).split('\n\n');
    text = parts.pop();
    for (const part of parts) {
      const lines = part.split('\n');
      const data = lines.filter(line => line.startsWith('data: ')).map(line => line.slice(6)).join('\n');
      if (lines.includes('event: error')) throw new Error(data);
      if (data === '[DONE]') return;
      yield JSON.parse(data);
    }
  }
}

async function speak(speech, signal) {
  const answer = await fetch(endpoint, {
    method: 'POST',
    signal,
    headers: {'Content-Type': 'application/json', Accept: 'text/event-stream, text/plain;q=0.5'},
    body: JSON.stringify({
      code: await code(), text: form.text.value, speaker: form.speaker.value, use_cache: true, cache_kwargs: true,
    }),
  });
  if (!answer.ok) throw new Error(await answer.text());
  for await (const {number, of, text, wav} of events(answer)) {
    speech.add(Uint8Array.from(atob(wav), letter => letter.charCodeAt(0)));
    const sentence = document.createElement('span');
    sentence.textContent = text;
    words.append(sentence, ' ');
    progress.max = of;
    progress.value = number;
    main.dataset.state = 'speaking';
  }
}

// ---- the page -------------------------------------------------------------------------------------------------------

let stop = null;  // what the button does while there is speech
let shown = null;  // the speech

const SAYS = {
  waiting: 'Waiting for the first sentence …', speaking: 'Speaking, and making more …', playing: 'Speaking …',
  done: 'Done', stopped: 'Stopped', failed: 'Failed',
};

function show(speech) {
  const {heard, made} = speech;
  const state = main.dataset.state;
  main.dataset.made = made.toFixed(2);
  main.dataset.heard = heard.toFixed(2);
  if (says.textContent !== SAYS[state]) says.textContent = SAYS[state];  // read out once
  clock.textContent = made ? `${heard.toFixed(1)} of ${made.toFixed(1)} s` : '';
  const spans = words.querySelectorAll('span');
  speech.pieces.forEach(({begins, seconds}, index) => {
    const over = heard >= begins + seconds - 1e-6;
    spans[index].className = over ? 'heard' : heard > begins ? 'now' : '';
  });
  draw(speech, heard);
}

// Bars as high as the sound is loud, as many as fit, those in full colour that have been heard.
function draw({pieces, made}, heard) {
  const scale = devicePixelRatio;
  const width = canvas.width = canvas.clientWidth * scale;
  const height = canvas.height = canvas.clientHeight * scale;
  const pen = canvas.getContext('2d');
  pen.fillStyle = getComputedStyle(canvas).color;
  const step = 5 * scale;
  const bars = Math.floor(width / step);
  const seconds = Math.max(made, 4) / bars;  // of each bar
  for (let bar = 0; bar < bars; bar++) {
    const loud = Math.sqrt(loudness(pieces, bar * seconds, seconds));
    const tall = Math.max(2 * scale, loud * height);
    pen.globalAlpha = bar * seconds < heard ? 1 : loud ? 0.35 : 0.15;
    pen.beginPath();
    pen.roundRect(bar * step, (height - tall) / 2, step * 0.6, tall, scale * 1.5);
    pen.fill();
  }
}

function loudness(pieces, from, seconds) {
  const piece = pieces.findLast(({begins}) => begins <= from);
  if (!piece) return 0;
  const first = Math.floor((from - piece.begins) * piece.rate);
  let peak = 0;
  for (let at = first; at < first + seconds * piece.rate && at < piece.samples.length; at += 16) {
    peak = Math.max(peak, Math.abs(piece.samples[at]));
  }
  return peak;
}

function offer(speech) {
  const [audio, link] = result.children;
  URL.revokeObjectURL(link.href);
  audio.src = link.href = URL.createObjectURL(speech.file());
  result.hidden = false;
}

// Until all that was made has been heard.
function wholeHeard(speech, signal) {
  return new Promise(settle => {
    const look = () => {
      if (signal.aborted || speech.heard >= speech.made - 1e-6) settle();
      else setTimeout(look, 50);
    };
    look();
  });
}

for (const change of [window, matchMedia('(prefers-color-scheme: dark)')]) {
  for (const kind of ['resize', 'change']) change.addEventListener(kind, () => shown && draw(shown, shown.heard));
}

// A browser keeps a page that was left, its calls included, in case somebody comes back.
addEventListener('pagehide', () => stop && stop());

form.addEventListener('submit', async event => {
  event.preventDefault();
  if (stop) {
    stop();
    return;
  }
  const speech = shown = new Speech();
  const leaving = new AbortController();
  stop = () => leaving.abort();
  button.textContent = 'Stop';
  problem.hidden = result.hidden = true;
  words.replaceChildren();
  progress.value = 0;
  main.dataset.state = 'waiting';
  const frames = setInterval(show, 50, speech);
  show(speech);
  try {
    await speak(speech, leaving.signal);
    main.dataset.state = 'playing';
    await wholeHeard(speech, leaving.signal);
    main.dataset.state = leaving.signal.aborted ? 'stopped' : 'done';
  } catch (error) {
    main.dataset.state = leaving.signal.aborted ? 'stopped' : 'failed';
    problem.textContent = error.message;
    problem.hidden = leaving.signal.aborted;
  }
  clearInterval(frames);
  show(speech);
  if (speech.made) offer(speech);
  speech.context.close();
  stop = null;
  button.textContent = 'Speak';
});
