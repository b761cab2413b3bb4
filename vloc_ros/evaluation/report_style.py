"""Style sheet of the report: plain, readable, printable, no file from elsewhere."""

CSS = """
:root { --ink: #1f2933; --soft: #52606d; --faint: #7b8794; --line: #e1e6ec; --page: #f4f6f8; --blue: #0072b2;
  --orange: #e69f00; --vermilion: #d55e00; --purple: #cc79a7; --grey: #7b8794; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.5; font-size: 15px;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 0 20px 60px; }
header { background: #12344d; color: #fff; padding: 34px 20px 30px; margin-bottom: 26px; }
header > div { max-width: 1120px; margin: 0 auto; }
header h1 { margin: 0; font-size: 28px; font-weight: 650; letter-spacing: -0.01em; }
header p { margin: 6px 0 0; color: #c3d3df; font-size: 14px; }
nav a { color: #fff; margin-right: 16px; font-size: 14px; text-underline-offset: 3px; text-decoration-color: #6f90a8; }
nav { margin-top: 12px; }
section { background: #fff; border: 1px solid var(--line); border-radius: 10px; padding: 24px 26px 26px; margin-bottom: 24px; }
h2 { margin: 0 0 4px; font-size: 21px; font-weight: 650; letter-spacing: -0.01em; }
h3 { margin: 30px 0 8px; font-size: 15px; font-weight: 650; }
.verdict { font-size: 16.5px; margin: 8px 0 0; max-width: 62em; }
.about { color: var(--soft); font-size: 13.5px; margin: 2px 0 0; overflow-wrap: anywhere; }
.notice { border-left: 4px solid var(--orange); background: #fdf6e7; padding: 8px 14px; margin: 14px 0 0; font-size: 14px; }
.cards { display: grid; grid-template-columns: repeat(4, 1fr); gap: 12px; margin: 18px 0 8px; }
.card { border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px 11px; }
.card .label { color: var(--soft); font-size: 12.5px; }
.card .value { font-size: 25px; font-weight: 650; letter-spacing: -0.02em; line-height: 1.25; white-space: nowrap; }
.card .value small { font-size: 14px; font-weight: 500; letter-spacing: 0; color: var(--soft); }
.card .detail { color: var(--faint); font-size: 12.5px; }
.card.bad { border-color: var(--vermilion); } .card.bad .value { color: var(--vermilion); }
figure { margin: 20px 0 0; break-inside: avoid; }
figure img { display: block; width: 100%; height: auto; }
figcaption { color: var(--soft); font-size: 13.5px; margin-top: 5px; }
.matches { display: grid; grid-template-columns: repeat(auto-fit, minmax(330px, 1fr)); gap: 18px; }
.matches.wide { grid-template-columns: 1fr; }
.matches.two { grid-template-columns: repeat(auto-fit, minmax(min(480px, 100%), 1fr)); }
.matches figure { margin: 0; } .matches img { border-radius: 6px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 6px 14px 6px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; font-size: 13px; }
td.number, th.number { text-align: right; white-space: nowrap; }
td.words { color: var(--soft); }
td.name { white-space: nowrap; }
tbody th { font-weight: 500; color: var(--ink); font-size: 14px; }
.chip { display: inline-block; width: 10px; height: 10px; border-radius: 50%; margin-right: 8px; }
.bar { background: #e9edf2; border-radius: 3px; height: 9px; min-width: 90px; margin-top: 7px; overflow: hidden; }
.bar span { display: block; height: 100%; background: var(--blue); border-radius: 3px; }
td.wide { width: 70%; }
.shade { display: block; margin: -3px 0; padding: 3px 8px; border-radius: 4px; font-weight: 600; color: #1f2933; }
.wide-table th, .wide-table td { padding-right: 10px; }
.wide-table th { white-space: normal !important; vertical-align: bottom; }
.wide-table + .wide-table { margin-top: 20px; }
.wide-table table { font-size: 13px; } .wide-table th { font-size: 12px; line-height: 1.3; }
details { margin-top: 26px; border-top: 1px solid var(--line); padding-top: 12px; }
summary { cursor: pointer; font-weight: 650; font-size: 15px; }
pre { background: #f4f6f8; border-radius: 6px; padding: 14px 16px; overflow-x: auto; font-size: 12.5px; line-height: 1.45;
  font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
footer { color: var(--faint); font-size: 13px; }
@media (max-width: 760px) { .cards { grid-template-columns: repeat(2, 1fr); } }
@media (max-width: 640px) { section { padding: 18px 16px; } header h1 { font-size: 23px; } td.words { min-width: 180px; } }
@media print {
  @page { margin: 14mm 12mm; }
  body { background: #fff; font-size: 11pt; }
  header { background: none; color: #000; padding: 0 0 10px; margin: 0 0 8px; border-bottom: 2px solid #12344d; }
  header p { color: #444; } nav { display: none; }
  main { max-width: none; padding: 0; }
  section { border: 0; border-radius: 0; padding: 8px 0; break-before: page; }
  section.first { break-before: auto; }
  .cards { grid-template-columns: repeat(4, 1fr); }
  .scroll { overflow: visible; }
  .wide-table table { font-size: 7.5pt; } .wide-table th { font-size: 7pt; }
  .wide-table th, .wide-table td { padding: 3px 5px 3px 0; }
  .shade { padding: 2px 4px; margin: -2px 0; }
  .card, tr, h3 { break-inside: avoid; } h2, h3, .about { break-after: avoid; }
  .bar, .bar span, .chip, .shade { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
