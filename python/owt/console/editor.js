'use strict';
// A text area with what code wants: lines with numbers, colours, indentation. The text area alone holds the text; what
// is seen lies under it, letter for letter the same, so that a colour can be wrong and the code cannot.

const KEYWORDS = new Set(('False None True and as assert async await break class continue def del elif else except finally for from ' +
  'global if import in is lambda match nonlocal not or pass raise return try while with yield').split(' '));
const TOKEN = new RegExp([
  '(?<comment>#.*)',
  String.raw`(?<string>(?<![\w])(?:[rbuft]|[rft]b?|b[rft])?(?:'''(?:\\[^]|[^\\])*?(?:'''|$(?![^]))|"""(?:\\[^]|[^\\])*?(?:"""|$(?![^]))|'(?:\\[^]|[^'\\\n])*'?|"(?:\\[^]|[^"\\\n])*"?))`,
  String.raw`(?<name>@[\w.]+|(?<=\b(?:def|class)[ \t]+)\w+)`,
  String.raw`(?<number>(?<![\w.])(?:\d[\w.]*|\.\d[\w.]*))`,
  String.raw`(?<word>\b[a-z]+\b)`,
].join('|'), 'giu');
// What is larger is shown as it is.
const MOST_COLOURED = 200_000;

// The lines of code, each a list of [class, text].
function coloured(code) {
  const lines = [[]];
  const add = (kind, words) => words.split('\n').forEach((part, index) => {
    if (index > 0) lines.push([]);
    if (part) lines.at(-1).push([kind, part]);
  });
  let at = 0;
  for (const match of code.matchAll(TOKEN)) {
    const [kind] = Object.entries(match.groups).find(([, found]) => found !== undefined);
    if (kind === 'word' && !KEYWORDS.has(match[0])) continue;
    add('', code.slice(at, match.index));
    add(kind === 'number' ? 'number-literal' : kind, match[0]);
    at = match.index + match[0].length;
  }
  add('', code.slice(at));
  return lines;
}

class Editor {
  constructor(box) {
    this.box = box;
    this.area = box.querySelector('textarea');
    this.lines = box.querySelector('pre');
    this.painted = [];
    this.leaving = false;
    this.area.addEventListener('input', () => {
      this.mark();
      this.paint();
    });
    this.area.addEventListener('keydown', (event) => this.key(event));
    this.area.addEventListener('blur', () => {
      this.leaving = false;
    });
  }
  get value() {
    return this.area.value;
  }
  set value(text) {
    this.area.value = text;
    this.mark();
    this.paint();
    this.box.scrollTop = 0;
  }
  paint() {
    const code = this.value;
    const plain = code.length > MOST_COLOURED;
    this.box.classList.toggle('plain', plain);
    const lines = plain ? [[]] : coloured(code);
    const keys = lines.map((line) => JSON.stringify(line));
    while (this.lines.childNodes.length > lines.length) this.lines.lastChild.remove();
    lines.forEach((line, index) => {
      if (keys[index] === this.painted[index] && this.lines.childNodes[index]) return;
      const made = line.map(([kind, words]) => (kind ? make('span', {className: kind}, words) : words));
      if (this.lines.childNodes[index]) this.lines.childNodes[index].replaceChildren(...made);
      else this.lines.append(make('div', {}, ...made));
    });
    this.painted = keys;
  }
  // The lines, counted from 1, that are to stand out.
  mark(...numbers) {
    for (const line of this.lines.querySelectorAll('.failed')) line.classList.remove('failed');
    for (const number of numbers) this.lines.childNodes[number - 1]?.classList.add('failed');
  }
  goTo(number) {
    const before = this.value.split('\n').slice(0, number - 1).join('\n').length;
    const begin = number > 1 ? before + 1 : 0;
    this.area.focus();
    this.area.setSelectionRange(begin, begin);
    this.lines.childNodes[number - 1]?.scrollIntoView({block: 'nearest'});
  }
  // As if it were typed, so that it can be undone.
  insert(text) {
    const done = text === '' ? document.execCommand('delete') : document.execCommand('insertText', false, text);
    if (!done) {
      this.area.setRangeText(text, this.area.selectionStart, this.area.selectionEnd, 'end');
      this.area.dispatchEvent(new Event('input', {bubbles: true}));
    }
  }
  key(event) {
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === 'Escape') {
      this.leaving = true;
      return;
    }
    if (event.key === 'Tab' && !this.leaving) {
      event.preventDefault();
      this.tab(event.shiftKey);
    } else if (event.key === 'Enter' && !event.shiftKey) {
      event.preventDefault();
      this.enter();
    } else if (event.key === 'Backspace' && this.area.selectionStart === this.area.selectionEnd) {
      this.backspace(event);
    }
    if (event.key !== 'Shift') this.leaving = false;
  }
  lineBegin(at) {
    return this.value.lastIndexOf('\n', at - 1) + 1;
  }
  enter() {
    const at = this.area.selectionStart;
    const line = this.value.slice(this.lineBegin(at), at);
    const indent = /^[ \t]*/.exec(line)[0];
    this.insert(`\n${indent}${/:\s*(#.*)?$/.test(line) ? '    ' : ''}`);
  }
  // Takes a step of indentation at once.
  backspace(event) {
    const at = this.area.selectionStart;
    const line = this.value.slice(this.lineBegin(at), at);
    if (!/^ +$/.test(line)) return;
    event.preventDefault();
    this.area.setSelectionRange(at - ((line.length - 1) % 4) - 1, at);
    this.insert('');
  }
  tab(back) {
    const {selectionStart: from, selectionEnd: to} = this.area;
    if (!back && !this.value.slice(from, to).includes('\n')) {
      this.insert(' '.repeat(4 - ((from - this.lineBegin(from)) % 4)));
      return;
    }
    const begin = this.lineBegin(from);
    const last = to > from && this.value[to - 1] === '\n' ? to - 1 : to;
    const next = this.value.indexOf('\n', last);
    const end = next < 0 ? this.value.length : next;
    const old = this.value.slice(begin, end);
    const made = back ? old.replace(/^(?: {1,4}|\t)/gm, '') : old.replace(/^(?=.)/gm, '    ');
    if (made === old) return;
    this.area.setSelectionRange(begin, end);
    this.insert(made);
    if (from === to) {
      const at = Math.max(begin, from + made.length - old.length);
      this.area.setSelectionRange(at, at);
    } else this.area.setSelectionRange(begin, begin + made.length);
  }
}
