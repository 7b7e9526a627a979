// What an automatic check of a page can find, by computed styles. Returns one line for every violation.
const found = [];
const name = element => {
  const text = (element.textContent || '').trim().replace(/\s+/g, ' ').slice(0, 40);
  return `${element.tagName.toLowerCase()}${element.id ? '#' + element.id : ''} "${text}"`;
};
const seen = element => element.checkVisibility({ opacityProperty: true, visibilityProperty: true });

// Names and structure.
if (!document.documentElement.lang) found.push('the page has no lang');
if (!document.title.trim()) found.push('the page has no title');
if (document.querySelectorAll('main').length !== 1) found.push('there is not one main');
const headings = [...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(h => [Number(h.tagName[1]), h]);
if (headings.filter(([level]) => level === 1).length !== 1) found.push('there is not one heading of level 1');
headings.forEach(([level, h], i) => {
  if (!h.textContent.trim()) found.push(`empty heading ${name(h)}`);
  if (level > (i ? headings[i - 1][0] : 0) + 1) found.push(`heading skips a level: ${name(h)}`);
});
const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
ids.filter((id, i) => ids.indexOf(id) !== i).forEach(id => found.push(`id stands twice: ${id}`));
document.querySelectorAll('a[href^="#"]').forEach(a => {
  if (!document.getElementById(a.getAttribute('href').slice(1))) found.push(`link without target: ${name(a)}`);
  if (!a.textContent.trim()) found.push(`link without words: ${name(a)}`);
});
document.querySelectorAll('table').forEach(table => {
  if (!table.querySelector('th')) found.push(`table without header: ${name(table)}`);
  table.querySelectorAll('th').forEach(th => {
    if (!th.scope) found.push(`header without scope: ${name(th)}`);
  });
});
document.querySelectorAll('svg').forEach(svg => {
  const label = svg.getAttribute('aria-labelledby');
  if (svg.getAttribute('role') !== 'img' || !label || !label.split(' ').every(id => document.getElementById(id)))
    found.push(`picture without a name: ${svg.outerHTML.slice(0, 80)}`);
});
document.querySelectorAll('dl').forEach(dl => {
  const inner = [...dl.children].flatMap(e => (e.tagName === 'DIV' ? [...e.children] : [e]));
  if (inner.some(e => !['DT', 'DD'].includes(e.tagName))) found.push(`dl holds something else: ${name(dl)}`);
});
document.querySelectorAll('ul,ol').forEach(list => {
  if ([...list.children].some(e => e.tagName !== 'LI')) found.push(`list holds something else: ${name(list)}`);
});
document.querySelectorAll('details').forEach(d => {
  if (!d.querySelector(':scope > summary')) found.push(`details without summary: ${name(d)}`);
});
document.querySelectorAll('[aria-hidden="true"] a').forEach(a => found.push(`hidden link: ${name(a)}`));

// Contrast of every text with what lies behind it (WCAG 2: 4.5, or 3 for large text).
const parse = colour => {
  const parts = colour.match(/[\d.]+/g).map(Number);
  return { rgb: parts.slice(0, 3), alpha: parts.length > 3 ? parts[3] : 1 };
};
const blend = (over, alpha, under) => over.map((part, i) => part * alpha + under[i] * (1 - alpha));
const luminance = rgb => {
  const [r, g, b] = rgb.map(part => part / 255).map(p => (p <= 0.04045 ? p / 12.92 : ((p + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (one, other) => {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
};
const ground = element => {
  const layers = [];
  for (let e = element; e; e = e.parentElement) {
    const { rgb, alpha } = parse(getComputedStyle(e).backgroundColor);
    if (alpha) layers.push([rgb, alpha]);
    if (alpha === 1) break;
  }
  return layers.reduceRight((under, [rgb, alpha]) => blend(rgb, alpha, under), [255, 255, 255]);
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const pale = new Set();
for (let node = walker.nextNode(); node; node = walker.nextNode()) {
  const element = node.parentElement;
  if (!node.textContent.trim() || !seen(element)) continue;
  const style = getComputedStyle(element);
  const inSvg = element.closest('svg');
  let under = ground(element);
  if (inSvg && element.tagName === 'text') {
    // What is drawn behind a label: the last filled mark that holds its middle.
    const box = element.getBoundingClientRect();
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    [...inSvg.querySelectorAll('path,rect')].forEach(mark => {
      const m = mark.getBoundingClientRect(), s = getComputedStyle(mark);
      if (s.fill !== 'none' && m.x <= x && x <= m.right && m.y <= y && y <= m.bottom) {
        const { rgb, alpha } = parse(s.fill);
        under = blend(rgb, alpha * Number(s.fillOpacity) * Number(s.opacity), under);
      }
    });
  }
  const { rgb, alpha } = parse(inSvg ? style.fill : style.color);
  const size = parseFloat(style.fontSize);
  const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
  const ratio = contrast(blend(rgb, alpha, under), under);
  if (ratio < (large ? 3 : 4.5)) pale.add(`contrast ${ratio.toFixed(2)} of ${name(element)} ${style.color} on ${under.map(Math.round)}`);
}
found.push(...[...pale].slice(0, 10));
return found;
