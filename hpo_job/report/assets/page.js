"use strict";
// Draws the figures one after the other, in the colours of the theme.
(() => {
  const root = document.documentElement;
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null; // by the button; until then, what the system says

  const isDark = () => (chosen === null ? dark.matches : chosen);

  function template() {
    const style = getComputedStyle(root);
    const colour = (name) => style.getPropertyValue(name).trim();
    const axis = {
      gridcolor: colour("--grid"), zerolinecolor: colour("--line"), linecolor: colour("--line"),
      automargin: true, title: { standoff: 12 }, exponentformat: "power",
    };
    return {
      layout: {
        font: { color: colour("--text"), family: "system-ui, 'DejaVu Sans', sans-serif", size: 12 },
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", xaxis: axis, yaxis: axis,
        hoverlabel: {
          align: "left", bgcolor: colour("--card"), bordercolor: colour("--line"),
          font: { color: colour("--text") },
        },
        legend: { bgcolor: "rgba(0,0,0,0)" },
        modebar: {
          bgcolor: "rgba(0,0,0,0)", color: colour("--soft"), activecolor: colour("--accent"),
        },
        annotationdefaults: { bgcolor: colour("--veil") },
      },
    };
  }

  const config = {
    responsive: true, displaylogo: false,
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
  };

  function draw(name) {
    const { data, layout } = figures[name];
    const themed = { ...layout, template: template() };
    const small = layout.height <= 300; // no room for buttons
    return Plotly.react(document.getElementById(name), data, themed, { ...config, displayModeBar: small ? false : "hover" });
  }

  let drawing = 0; // a change of theme begins anew
  async function drawAll() {
    const mine = ++drawing;
    root.dataset.theme = isDark() ? "dark" : "light";
    root.dataset.drawn = "0";
    let count = 0;
    for (const name of Object.keys(figures)) {
      if (mine !== drawing) return;
      await draw(name);
      root.dataset.drawn = String(++count);
      await new Promise((next) => setTimeout(next)); // let the page be used meanwhile
    }
    root.dataset.ready = "yes";
  }

  document.getElementById("theme").addEventListener("click", () => {
    chosen = !isDark();
    drawAll();
  });
  dark.addEventListener("change", () => {
    if (chosen === null) drawAll();
  });
  drawAll();
})();
