'use strict';
const filter = document.querySelector('.filter input');
const found = document.querySelector('.found');
filter?.addEventListener('input', () => {
  const words = filter.value.toLowerCase().split(/\s+/);
  let count = 0;
  for (const item of document.querySelectorAll('.functions li')) {
    item.hidden = !words.every((word) => item.textContent.toLowerCase().includes(word));
    count += item.hidden ? 0 : 1;
  }
  found.textContent = `${count} shown`;
});
