/** The page's style: system fonts, eight series colours that most eyes can tell apart, in a light and a dark version. */
export const style: string = `
:root { color-scheme: light dark;
  --page: #fcfcfb; --ink: #1d1f23; --soft: #5d636d; --line: #e2e3e6; --strip: #f3f4f5; --glow: #eef4ff;
  --c0: #2f6fde; --c1: #d9622b; --c2: #2c9a63; --c3: #a44fc4; --c4: #b98a00; --c5: #0f9aa8; --c6: #d1447f; --c7: #6b7280; }
@media (prefers-color-scheme: dark) { :root {
  --page: #15171a; --ink: #e6e7ea; --soft: #9aa1ac; --line: #2c3036; --strip: #1d2024; --glow: #1b2740;
  --c0: #6ea2ff; --c1: #f08a55; --c2: #56c48d; --c3: #c98be0; --c4: #dcb23d; --c5: #4fc3cf; --c6: #ee7fae; --c7: #a3abb8; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem; }
.lead { color: var(--soft); margin: 0 0 1.2rem; max-width: 46rem; }
p { max-width: 46rem; }
footer { margin-top: 2.5rem; padding-top: .8rem; border-top: 1px solid var(--line); color: var(--soft); font-size: .85rem; }
.table { overflow-x: auto; margin: .6rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; min-width: 60%; }
th, td { text-align: left; padding: .32rem .8rem .32rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; }
td:first-child, th:first-child { padding-left: .4rem; }
@media (min-width: 48rem) { td:first-child { white-space: nowrap; } }
.number { text-align: right; white-space: nowrap; }
tr.highlight td { background: var(--glow); font-weight: 600; }
figure { margin: .6rem 0 1.2rem; }
svg { display: block; width: 100%; height: auto; max-width: 46rem; }
svg.narrow { display: none; }
@media (max-width: 34rem) { svg.wide { display: none; } svg.narrow { display: block; } main { padding: 1rem .8rem 2rem; } }
text { fill: var(--soft); font: 11.5px system-ui, sans-serif; }
text.group, text.figure { fill: var(--ink); }
text.group { font-weight: 600; }
.grid { stroke: var(--line); stroke-width: 1; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.mark { stroke: var(--ink); stroke-width: 1; stroke-dasharray: 4 3; }
.legend { margin: 0 0 .4rem; font-size: .85rem; color: var(--soft); }
.key { display: inline-block; margin-right: 1rem; }
.key i { display: inline-block; width: .75rem; height: .75rem; border-radius: 2px; margin-right: .35rem; vertical-align: -1px; }
${Array.from(
  { length: 8 },
  (_, index) =>
    `.line.c${index} { stroke: var(--c${index}); } .dot.c${index}, .bar.c${index} { fill: var(--c${index}); } i.c${index} { background: var(--c${index}); }`,
).join("\n")}
`;
