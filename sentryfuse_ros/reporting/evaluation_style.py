"""The page's style sheet."""

STYLE_SHEET = """\
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 68rem; background: #fff; color: #22303c;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 0 0 .3rem; }
p { margin: .3rem 0 .8rem; max-width: 46rem; }
.on { margin: 0; font-size: 1.1rem; color: #5b6975; overflow-wrap: anywhere; }
.warning { border-left: 4px solid #e07a1f; background: #fdf3e7; padding: .5rem .8rem; }
section { margin-top: 2.2rem; padding-top: 1.4rem; border-top: 1px solid #e3e8ec; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: .8rem; margin-top: 1.2rem; }
.tile { background: #f4f7f9; border-radius: 8px; padding: .8rem 1rem; }
.tile b { display: block; font-size: 1.6rem; line-height: 1.2; color: #1d3557; }
.tile span { display: block; font-weight: 600; font-size: .92rem; }
.tile small { color: #5b6975; }
.picture svg { display: block; width: 100%; height: auto; }
.side { display: flex; flex-wrap: wrap; gap: 1.5rem; margin-bottom: 1rem; }
figure { margin: 0; flex: 0 1 auto; min-width: 0; }
figcaption { font-weight: 600; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #e3e8ec; }
th { font-weight: 600; vertical-align: bottom; max-width: 9rem; }
td { white-space: nowrap; }
th:first-child, td.name { text-align: left; }
summary { cursor: pointer; font-weight: 600; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.2rem; font-size: .9rem; }
dt { color: #5b6975; }
dd { margin: 0; overflow-wrap: anywhere; }
@media print { section { break-inside: avoid; } }
"""
