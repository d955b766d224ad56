// What a test asks of a page. Each function returns a list of what is wrong.
(() => {
  const parse = (text) => {
    const m = text.match(/rgba?\(([^)]*)\)/);
    if (!m) return null;
    const [r, g, b, a = 1] = m[1].split(/[,/ ]+/).filter((w) => w).map(Number);
    return { r, g, b, a };
  };
  const over = (top, under) => ({
    r: top.r * top.a + under.r * (1 - top.a), g: top.g * top.a + under.g * (1 - top.a), b: top.b * top.a + under.b * (1 - top.a), a: 1,
  });
  // Source: WCAG 2.2, "relative luminance" and "contrast ratio".
  const luminance = ({ r, g, b }) => {
    const [x, y, z] = [r, g, b].map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const contrast = (a, b) => {
    const [x, y] = [luminance(a), luminance(b)].sort((m, n) => n - m);
    return (x + 0.05) / (y + 0.05);
  };
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c && c.a > 0) layers.push(c);
      if (c && c.a === 1) break;
    }
    return layers.reverse().reduce((under, top) => over(top, under), { r: 255, g: 255, b: 255, a: 1 });
  };
  const shown = (e) => e.getClientRects().length > 0 && getComputedStyle(e).visibility !== 'hidden' && !e.closest('.hidden, .skip');
  const words = (e) => [...e.childNodes].filter((n) => n.nodeType === Node.TEXT_NODE).map((n) => n.data.trim()).join(' ').trim();

  window.page = {
    // Text that is hard to read: against what is behind it, or too small.
    unreadable: () => {
      const wrong = [];
      for (const e of document.body.querySelectorAll('*')) {
        const text = words(e);
        if (!text || !shown(e) || ['TITLE', 'DESC', 'STYLE'].includes(e.tagName.toUpperCase())) continue;
        const style = getComputedStyle(e);
        const svg = e.closest('svg');
        let grounds = [behind(svg ? svg.parentElement : e)];
        let ink = parse(style.color);
        let size = parseFloat(style.fontSize);
        if (svg) {
          ink = parse(style.fill);
          size *= svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
          const box = e.getBoundingClientRect();
          for (const r of svg.querySelectorAll('rect')) {
            const at = r.getBoundingClientRect();
            const fill = parse(getComputedStyle(r).fill);
            if (fill && fill.a > 0 && at.left < box.right && at.right > box.left && at.top < box.bottom && at.bottom > box.top) grounds.push(over(fill, grounds[0]));
          }
          const edge = svg.getBoundingClientRect();
          if (box.left < edge.left - 0.5 || box.right > edge.right + 0.5) wrong.push(`"${text}" sticks out of its chart`);
        }
        const least = Math.min(...grounds.map((g) => contrast(ink, g)));
        if (least < 4.5) wrong.push(`"${text.slice(0, 60)}" has a contrast of ${least.toFixed(2)}`);
        if (size < 10.9) wrong.push(`"${text.slice(0, 60)}" is ${size.toFixed(1)} px high`);
      }
      return wrong;
    },
    // What makes the page wider than the window.
    wide: () => {
      const width = document.documentElement.clientWidth;
      if (document.documentElement.scrollWidth <= width) return [];
      return [...document.body.querySelectorAll('*')].filter((e) => shown(e) && e.getBoundingClientRect().right > width + 0.5)
        .map((e) => `${e.tagName} ${words(e).slice(0, 60)} reaches to ${Math.round(e.getBoundingClientRect().right)} of ${width}`).slice(0, 5);
    },
    // Pictures of which nobody is told who does not see them, or that have nothing beside them.
    untold: () => {
      const wrong = [];
      for (const e of document.querySelectorAll('svg, img, canvas, object, video')) {
        const title = e.querySelector(':scope > title');
        const named = (e.getAttribute('aria-labelledby') || '').split(' ').every((id) => id && document.getElementById(id) && e.contains(document.getElementById(id)));
        if (e.tagName !== 'svg' || e.getAttribute('role') !== 'img' || !title || !title.textContent.trim() || !named) wrong.push(`${e.outerHTML.slice(0, 80)} has no title`);
        const beside = e.closest('figure')?.nextElementSibling?.querySelector('table');
        if (!beside || !beside.querySelector('caption') || beside.querySelectorAll('tbody tr').length === 0) wrong.push(`${title?.textContent} has no table beside it`);
      }
      for (const e of document.querySelectorAll('figure')) {
        if ([...e.querySelectorAll('svg')].filter(shown).length !== 1) wrong.push('not exactly one chart of a figure is shown');
      }
      for (const e of document.querySelectorAll('th')) if (!e.scope) wrong.push(`the heading ${e.textContent} says of what`);
      return wrong;
    },
    // Links into the page that lead nowhere.
    lost: () => [...document.querySelectorAll('a[href^="#"]')].filter((a) => !document.getElementById(a.getAttribute('href').slice(1))).map((a) => a.outerHTML.slice(0, 80)),
    // Tables that paper would not have.
    unprinted: () => [...document.querySelectorAll('table')].filter((e) => e.getBoundingClientRect().height < 10).map((e) => e.caption?.textContent),
  };
  return true;
})()
