"use strict";
// A table of trials that is sorted by a click on a heading and filtered by words and comparisons.
(() => {
  const PAGE = 100; // rows shown at a time
  const COMPARISON = /^(.+?)(>=|<=|!=|=|>|<)(.+)$/;

  function make(tag, settings = {}, ...children) {
    const made = Object.assign(document.createElement(tag), settings);
    made.append(...children);
    return made;
  }

  // What a filter such as "COMPLETE accuracy>=0.9 resnet18" asks of a row; null where it names
  // no column.
  function tests(words, columns) {
    const found = [];
    for (const word of words.trim().split(/\s+/).filter(Boolean)) {
      const match = COMPARISON.exec(word);
      if (!match) {
        const part = word.toLowerCase();
        found.push((row) => row.some((cell) => cell !== null && String(cell).toLowerCase().includes(part)));
        continue;
      }
      const [, name, sign, right] = match;
      const column = columns.findIndex((each) => each.name.toLowerCase() === name.toLowerCase());
      if (column < 0) return null;
      const number = Number(right.replace(/^#/, ""));
      const compare = (left) => {
        if (left === null) return false;
        const [a, b] = Number.isNaN(number) || typeof left === "string"
          ? [String(left).toLowerCase(), right.toLowerCase()] : [left, number];
        return { ">=": a >= b, "<=": a <= b, "!=": a !== b, "=": a === b, ">": a > b, "<": a < b }[sign];
      };
      found.push((row) => compare(row[column]));
    }
    return found;
  }

  // A number in few digits, as the other tables have it; the whole one is told on hovering.
  function short(found, column) {
    const size = Math.abs(found);
    if (!Number.isFinite(found)) return found > 0 ? "inf" : "-inf";
    if (column.value) return found === 0 || (size >= 1e-3 && size < 1e4) ? found.toFixed(4) : found.toExponential(3);
    if (column.name === "duration") return found.toFixed(1);
    if (Number.isInteger(found)) return String(found);
    return size < 1e-4 || size >= 1e6 ? found.toExponential(2) : String(Number(found.toPrecision(3)));
  }

  function ordered(a, b, down) {
    if (a === null || b === null) return (a === null) - (b === null); // missing ones last
    const way = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
    return down ? -way : way;
  }

  const INFINITE = { inf: Infinity, "-inf": -Infinity }; // JSON has no number for them

  function explorer(place, { columns, rows: cells }) {
    const rows = cells.map((row) => row.map((cell, i) => (columns[i].number && INFINITE[cell]) || cell));
    let sorted = null, down = false, page = 0, all = false;
    const filter = make("input", {
      type: "search", placeholder: "filter: COMPLETE resnet18 duration<60", ariaLabel: "filter trials",
      title: "Words that a row must have, and comparisons without spaces: accuracy>=0.9",
    });
    const count = make("span", { className: "count" });
    const back = make("button", { type: "button", textContent: "‹", ariaLabel: "earlier rows" });
    const on = make("button", { type: "button", textContent: "›", ariaLabel: "later rows" });
    const attributes = make("input", { type: "checkbox" });
    const tools = make("div", { className: "tools" }, filter, count, back, on);
    if (columns.some((column) => column.group)) {
      tools.append(make("label", {}, attributes, " all attributes"));
    }
    const head = make("tr"), body = make("tbody");
    place.append(tools, make("div", { className: "wide" }, make("table", {}, make("thead", {}, head), body)));

    const shown = () => columns.map((_, i) => i).filter((i) => all || !columns[i].group);

    function sort(column) {
      // numbers are looked at from the top: a first click on a value sorts downwards
      down = sorted === column ? !down : columns[column].number && column > 0;
      sorted = column;
      page = 0;
      show();
    }

    function heading(i) {
      const way = sorted === i ? (down ? " ▾" : " ▴") : "";
      const th = make("th", { tabIndex: 0, scope: "col", className: columns[i].number ? "number" : "" },
        columns[i].name, make("span", { className: "way", textContent: way }));
      th.ariaSort = sorted === i ? (down ? "descending" : "ascending") : "none";
      th.addEventListener("click", () => sort(i));
      th.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") {
          event.preventDefault();
          sort(i);
        }
      });
      return th;
    }

    function cell(value, i) {
      const whole = value === null ? "" : String(value);
      const text = i === 0 ? `#${value}` : typeof value === "number" ? short(value, columns[i]) : whole;
      const td = make("td", { textContent: text });
      if (columns[i].number) td.className = "number";
      else if (columns[i].name === "state") td.className = text;
      else if (columns[i].name === "note") td.className = text ? "words" : "";
      if (text.length > 40 || (i > 0 && text !== whole)) td.title = whole;
      return td;
    }

    function show() {
      const asked = tests(filter.value, columns);
      filter.classList.toggle("wrong", asked === null);
      let found = asked === null ? [] : rows.filter((row) => asked.every((test) => test(row)));
      if (sorted !== null) found = [...found].sort((a, b) => ordered(a[sorted], b[sorted], down));
      page = Math.max(0, Math.min(page, Math.ceil(found.length / PAGE) - 1));
      const part = found.slice(page * PAGE, (page + 1) * PAGE);
      const many = found.length > PAGE;
      count.textContent = asked === null ? "no such column"
        : (many ? `${page * PAGE + 1}–${page * PAGE + part.length} of ` : "")
          + `${found.length}${found.length < rows.length ? ` of ${rows.length}` : ""} trials`;
      back.hidden = on.hidden = !many;
      back.disabled = page === 0;
      on.disabled = (page + 1) * PAGE >= found.length;
      head.replaceChildren(...shown().map(heading));
      body.replaceChildren(...part.map((row) => make("tr", {}, ...shown().map((i) => cell(row[i], i)))));
    }

    filter.addEventListener("input", () => { page = 0; show(); });
    back.addEventListener("click", () => { page -= 1; show(); });
    on.addEventListener("click", () => { page += 1; show(); });
    attributes.addEventListener("change", () => { all = attributes.checked; show(); });
    show();
  }

  const tables = JSON.parse(document.getElementById("tables").textContent);
  for (const [name, table] of Object.entries(tables)) explorer(document.getElementById(name), table);
})();
