// Small helpers over the DOM. Text always goes in as text, never as markup.

export const byId = (id) => document.getElementById(id);

/** element('td', {class: 'num', title: …}, child, …); null children are left out. */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

/** Changes a text only if it differs, so that nothing is laid out in vain. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A value from the style sheet. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A table of head cells [{name, num}] and rows of cells. */
export function table(head, rows) {
  const headCells = head.map(({ name, num }) => element('th', { class: num && 'num', scope: 'col' }, name));
  return element('table', {}, element('thead', {}, element('tr', {}, ...headCells)), element('tbody', {}, ...rows));
}

export const code = (text) => element('code', {}, text);

/** An empty state: sentences and code, as text and nodes. */
export const empty = (...parts) => element('p', { class: 'empty' }, ...parts);
