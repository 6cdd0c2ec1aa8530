"use strict";

// Items are sorted by ID, so that the items of every prefix are a range [start, stop).
// Nothing is computed for a node before it is shown, and only visible rows exist.

const data = JSON.parse(document.getElementById("data").textContent);
const nLevels = data.codes.length;
const nItems = data.rows.length;
const lowered = data.names ? data.names.map((name) => name.toLowerCase()) : null;
const ROW_HEIGHT = 48;
const EXTRA_ROWS = 6;
// Firefox draws no element that is higher than 17.9 million pixels.
const MAX_ROWS = 300000;
const SEARCH_DELAY = 120;

const searchBox = document.getElementById("search");
const pathBar = document.getElementById("path");
const columns = document.getElementById("columns");

let selected = [];
let foundRow = null;

// Tree

function rangeOf(prefix) {
  let [start, stop] = [0, nItems];
  prefix.forEach((code, level) => {
    const column = data.codes[level];
    const low = lowerBound(column, code, start, stop);
    const high = lowerBound(column, code + 1, low, stop);
    [start, stop] = [low, high];
  });
  return { start, stop };
}

function lowerBound(column, code, start, stop) {
  while (start < stop) {
    const middle = (start + stop) >> 1;
    if (column[middle] < code) start = middle + 1;
    else stop = middle;
  }
  return start;
}

function childrenOf(prefix) {
  const column = data.codes[prefix.length];
  const children = [];
  let { start, stop } = rangeOf(prefix);
  while (start < stop) {
    const code = column[start];
    const end = lowerBound(column, code + 1, start, stop);
    children.push({ code, start, stop: end });
    start = end;
  }
  return children.sort((a, b) => b.stop - b.start - (a.stop - a.start) || a.code - b.code);
}

function countIds() {
  let count = nItems ? 1 : 0;
  for (let item = 1; item < nItems; item++) {
    if (data.codes.some((column) => column[item] !== column[item - 1])) count++;
  }
  return count;
}

// Texts

function plural(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

function nameOf(item) {
  return data.names ? data.names[item] : `item ${data.rows[item]}`;
}

function idOf(item) {
  return data.codes.map((column) => column[item]);
}

function labelOf(item) {
  if (data.labels) return data.labelNames[data.labels[item]];
  if (data.values) return String(data.values[item]);
  return "";
}

function describe(start, stop) {
  const examples = [];
  for (let item = start; item < stop && examples.length < 4; item++) {
    examples.push(nameOf(item));
  }
  const summary = summarise(start, stop);
  return (summary ? `${summary} · ` : "") + examples.join(", ");
}

function summarise(start, stop) {
  if (data.values) {
    let sum = 0;
    for (let item = start; item < stop; item++) sum += data.values[item];
    return `mean ${Number((sum / (stop - start)).toPrecision(4))}`;
  }
  if (!data.labels) return "";
  const counts = new Map();
  for (let item = start; item < stop; item++) {
    counts.set(data.labels[item], (counts.get(data.labels[item]) || 0) + 1);
  }
  let [best, most] = [0, 0];
  for (const [label, count] of counts) if (count > most) [best, most] = [label, count];
  return `${data.labelNames[best]} ${Math.round((100 * most) / (stop - start))}%`;
}

// Elements

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function limitOf(count) {
  return count > MAX_ROWS ? `, first ${MAX_ROWS.toLocaleString("en")} listed` : "";
}

// A list that creates only the rows in view.
function addList(parent, count, makeRow) {
  count = Math.min(count, MAX_ROWS);
  const list = element("div", "list");
  const content = element("div");
  content.style.height = `${count * ROW_HEIGHT}px`;
  list.append(content);
  parent.append(list);
  const rows = new Map();

  function update() {
    const first = Math.max(0, Math.floor(list.scrollTop / ROW_HEIGHT) - EXTRA_ROWS);
    const height = list.clientHeight || window.innerHeight;
    const last = Math.min(
      count,
      Math.ceil((list.scrollTop + height) / ROW_HEIGHT) + EXTRA_ROWS,
    );
    for (const [number, row] of rows) {
      if (number < first || number >= last) {
        row.remove();
        rows.delete(number);
      }
    }
    for (let number = first; number < last; number++) {
      if (rows.has(number)) continue;
      const row = makeRow(number);
      row.style.top = `${number * ROW_HEIGHT}px`;
      rows.set(number, row);
      content.append(row);
    }
  }

  list.addEventListener("scroll", update, { passive: true });
  new ResizeObserver(update).observe(list);
  update();
  return {
    show(number) {
      list.scrollTop = Math.max(0, (number - 1) * ROW_HEIGHT);
      update();
    },
  };
}

function makeRow(onClick) {
  const row = element("button", "row");
  row.type = "button";
  row.addEventListener("click", onClick);
  return row;
}

// Columns of the tree

function addChildColumn(prefix) {
  const level = prefix.length;
  const column = element("section", "column");
  if (level < selected.length && level < nLevels - 1) column.classList.add("ancestor");
  const children = childrenOf(prefix);
  column.append(element("h2", "", `Level ${level + 1}: ${plural(children.length, "code")}`));
  columns.append(column);
  const largest = children[0].stop - children[0].start;
  const list = addList(column, children.length, (number) => {
    const child = children[number];
    const size = child.stop - child.start;
    const row = makeRow(() => select([...prefix, child.code]));
    const first = element("span", "first");
    const track = element("span", "track");
    const bar = element("span", "bar");
    bar.style.width = `${(100 * size) / largest}%`;
    track.append(bar);
    first.append(element("span", "code", String(child.code)), track);
    first.append(element("span", "count", size.toLocaleString("en")));
    row.append(first, element("span", "second", describe(child.start, child.stop)));
    row.setAttribute("aria-label", `Code ${child.code}, ${plural(size, "item")}`);
    if (child.code === selected[level]) row.setAttribute("aria-current", "true");
    return row;
  });
  if (level < selected.length) {
    list.show(children.findIndex((child) => child.code === selected[level]));
  }
}

function addItemColumn(prefix) {
  const { start, stop } = rangeOf(prefix);
  const column = element("section", "column items");
  column.append(element("h2", "", plural(stop - start, "item") + limitOf(stop - start)));
  columns.append(column);
  const list = addList(column, stop - start, (number) => itemRow(start + number));
  if (foundRow !== null && foundRow >= start && foundRow < stop) {
    list.show(foundRow - start);
  }
}

function itemRow(item) {
  const row = makeRow(() => {
    foundRow = item;
    select(idOf(item), true);
  });
  if (item === foundRow) row.classList.add("found");
  const details = [idOf(item).join("-"), labelOf(item)].filter(Boolean).join(" · ");
  row.append(element("span", "", nameOf(item)), element("span", "second", details));
  row.title = nameOf(item);
  return row;
}

function drawPath() {
  pathBar.replaceChildren();
  for (let length = 0; length <= selected.length; length++) {
    if (length) pathBar.append(element("span", "separator", "›"));
    const text = length ? String(selected[length - 1]) : "All items";
    const button = element("button", "", text);
    button.type = "button";
    if (length) button.setAttribute("aria-label", `Prefix ${selected.slice(0, length).join("-")}`);
    if (length === selected.length) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => select(selected.slice(0, length)));
    pathBar.append(button);
  }
}

function draw() {
  drawPath();
  columns.replaceChildren();
  for (let level = 0; level <= Math.min(selected.length, nLevels - 1); level++) {
    addChildColumn(selected.slice(0, level));
  }
  addItemColumn(selected);
  columns.scrollLeft = columns.scrollWidth;
}

function select(prefix, keepFound = false) {
  if (!keepFound) foundRow = null;
  selected = prefix;
  searchBox.value = "";
  draw();
  const hash = `#${prefix.join("-")}`;
  try {
    if (location.hash !== hash) history.pushState(null, "", hash);
  } catch {
    // Pages without an address of their own, such as `srcdoc`, have no history.
  }
}

// Search

function prefixIn(query) {
  if (!/^\d+([-,\s]+\d+)*-?$/.test(query)) return null;
  const prefix = query.split(/[-,\s]+/).filter(Boolean).map(Number);
  if (prefix.length > nLevels) return null;
  const { start, stop } = rangeOf(prefix);
  return start < stop ? { prefix, size: stop - start } : null;
}

function itemsWith(words) {
  const matches = [];
  for (let item = 0; item < nItems; item++) {
    const text = lowered ? lowered[item] : nameOf(item);
    if (words.every((word) => text.includes(word))) matches.push(item);
  }
  return matches;
}

function search(query) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const prefix = prefixIn(query);
  const matches = itemsWith(words);
  columns.replaceChildren();
  const column = element("section", "column items");
  const title = `${plural(matches.length, "item")} found${limitOf(matches.length)}`;
  column.append(element("h2", "", title));
  columns.append(column);
  const nPrefixes = prefix ? 1 : 0;
  if (!matches.length && !prefix) {
    column.append(element("p", "empty", "No name has these words, and no ID this prefix."));
    return;
  }
  addList(column, matches.length + nPrefixes, (number) => {
    if (number >= nPrefixes) return itemRow(matches[number - nPrefixes]);
    const row = makeRow(() => select(prefix.prefix));
    row.append(element("span", "", `Prefix ${prefix.prefix.join("-")}`));
    row.append(element("span", "second", plural(prefix.size, "item")));
    return row;
  });
}

let timer = null;
searchBox.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(() => {
    const query = searchBox.value.trim();
    if (query) search(query);
    else draw();
  }, SEARCH_DELAY);
});

// Address

function selectFromAddress() {
  const found = prefixIn(location.hash.slice(1).replace(/%20/g, " "));
  selected = found ? found.prefix : [];
  foundRow = null;
  draw();
}

window.addEventListener("popstate", selectFromAddress);
document.getElementById("summary").textContent =
  `${plural(nItems, "item")}, ${plural(countIds(), "distinct ID")}, ` +
  plural(nLevels, "level");
selectFromAddress();
