"""How the report of a run looks: one style sheet, light or dark as the reader's system is."""

STYLE = """
:root { --ground: #f7f8fa; --paper: #fff; --ink: #1d2330; --soft: #6a7280; --line: #e3e6eb; --accent: #2c6be0; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #14171c; --paper: #1c2027; --ink: #e4e7ec; --soft: #949ba8; --line: #2d333d; --accent: #7fb0ff; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); line-height: 1.5;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
header, main { max-width: 1080px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 36px; }
h1 { font-size: 28px; margin: 0; letter-spacing: -0.01em; }
header p, section p { color: var(--soft); margin: 4px 0 12px; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 12px; padding: 20px 24px; margin: 20px 0; }
h2 { font-size: 17px; margin: 0 0 10px; }
h3 { font-size: 14px; margin: 18px 0 6px; color: var(--soft); font-weight: 600; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 14px;
  background: none; border: 0; padding: 0; }
.card { background: var(--paper); border: 1px solid var(--line); border-radius: 12px; padding: 16px 18px; }
.card b { display: block; font-size: 26px; font-weight: 650; color: var(--accent); font-variant-numeric: tabular-nums; }
.card span { display: block; }
.card i { display: block; font-style: normal; font-size: 12px; color: var(--soft); }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(380px, 1fr)); gap: 12px; }
figure { margin: 0; }
figure svg { width: 100%; height: auto; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; color: var(--soft); font-weight: 600; white-space: nowrap; }
th, td { padding: 6px 12px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td { overflow-wrap: anywhere; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
tbody tr:last-child td { border-bottom: 0; }
details { margin: 10px 0 0; }
summary { cursor: pointer; color: var(--accent); }
@media print { body { background: #fff; } section, .card { break-inside: avoid; } }
"""
