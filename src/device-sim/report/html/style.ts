/** How the page looks. Colours of Okabe and Ito, which the colour-blind can tell apart, lighter on dark; lines differ by their dashes too. */

export const STYLE = `
:root{color-scheme:light dark;--ink:light-dark(#16202c,#e4e9ef);--dim:light-dark(#566272,#9aa6b4);--page:light-dark(#f4f6f8,#0f1318);--card:light-dark(#fff,#181e25);--edge:light-dark(#dbe1e7,#2b343f);--grid:light-dark(#e8ecf0,#262e38);--good:light-dark(#00674b,#3fd3a4);--bad:light-dark(#a8330b,#ff9566);--warn:light-dark(#fff3d6,#33280d);--warned:light-dark(#b07900,#e6a93a);--link:light-dark(#005a9c,#7cc0f5)}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,"Segoe UI",Roboto,"Liberation Sans",sans-serif}
main,header,footer{max-width:1180px;margin:0 auto;padding:0 20px}
header{padding-top:24px}
h1{font-size:1.9rem;line-height:1.2;margin:0;overflow-wrap:anywhere;letter-spacing:-.01em}
h2{font-size:1.2rem;margin:40px 0 4px}
h3{font-size:1rem;margin:24px 0 8px}
p{margin:6px 0}
a{color:var(--link)}
code{font:.9em/1.45 ui-monospace,"SF Mono",Menlo,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}
.dim,small,figcaption span{color:var(--dim)}
.brand{font-weight:700;margin:0 0 16px;font-size:.9rem}
.brand span{font-weight:400;color:var(--dim);margin-left:4px}
.top{display:flex;gap:20px;justify-content:space-between;align-items:flex-start;flex-wrap:wrap}
.top>div{flex:1 1 20rem;min-width:0}
.lead{font-size:1.05rem;color:var(--dim);max-width:46rem;overflow-wrap:anywhere}
.verdict{margin:0;padding:8px 18px;border-radius:8px;border:2px solid;font-size:1.1rem;font-weight:700;max-width:100%}
.good{color:var(--good)}.bad{color:var(--bad)}
.why{border-left:4px solid var(--bad);margin:12px 0;padding:2px 14px}
.why ul,.banner ul{margin:4px 0;padding-left:18px;overflow-wrap:anywhere}
.banner{background:var(--warn);border:1px solid var(--warned);border-left-width:6px;border-radius:8px;padding:12px 16px;margin:14px 0;overflow-wrap:anywhere}
.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(230px,1fr));gap:8px 24px;margin:20px 0 12px}
.facts dt{font-size:.8rem;color:var(--dim)}
.facts dd{margin:0;overflow-wrap:anywhere}
.repeat code{display:block;background:var(--card);border:1px solid var(--edge);border-radius:8px;padding:10px 14px;margin-top:2px;white-space:pre-wrap;user-select:all;max-height:9rem;overflow:auto}
nav{margin:18px 0 0}
nav ul{display:flex;flex-wrap:wrap;gap:2px 18px;list-style:none;margin:0;padding:0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(112px,1fr));gap:10px;list-style:none;margin:22px 0 0;padding:0}
.tiles li{background:var(--card);border:1px solid var(--edge);border-radius:10px;padding:10px 12px;display:flex;flex-direction:column;min-width:0}
.tiles .name{font-size:.8rem;color:var(--dim)}
.tiles strong{font-size:1.3rem;line-height:1.3;font-variant-numeric:tabular-nums;color:var(--ink);white-space:nowrap}
.tiles .bad{border-color:var(--bad);border-width:2px;padding:9px 11px}
.tiles .bad strong,.tiles .bad small{color:var(--bad)}
.plots{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:16px;margin-top:12px;align-items:start}
figure{background:var(--card);border:1px solid var(--edge);border-radius:10px;margin:0;padding:14px 16px 10px;min-width:0}
figcaption{margin-bottom:6px;line-height:1.35}
figcaption span{font-size:.85rem;margin-left:4px}
.plot{display:block;width:100%;height:auto;overflow:visible}
svg text{fill:var(--dim);font:11.5px system-ui,"Liberation Sans",sans-serif;font-variant-numeric:tabular-nums}
svg .mark{fill:var(--ink);paint-order:stroke;stroke:var(--card);stroke-width:3px}
svg .on{fill:#16202c;font-weight:700}
.grid{stroke:var(--grid);fill:none}.base{stroke:var(--dim);fill:none}
.fault{fill:var(--warned);opacity:.16}.before{fill:var(--dim);opacity:.12}
.when{stroke:var(--warned);stroke-dasharray:2 3;fill:none}
.c0{--c:light-dark(#0072b2,#5db4ec)}.c1{--c:light-dark(#e69f00,#f0b23c)}.c2{--c:light-dark(#00805e,#2fca9d)}.c3{--c:light-dark(#d55e00,#f5843c)}.c4{--c:light-dark(#b5548d,#e39bc4)}.c5{--c:light-dark(#56b4e9,#8fd0f7)}.c6{--c:light-dark(#9aa5b1,#7b8794)}.c7{--c:light-dark(#2b3440,#d5dce4)}.ask{--c:var(--ink)}
.line{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.thin{stroke-width:1.3}.dashes{stroke-dasharray:6 4}.dots{stroke-dasharray:1 4}
.area{fill:var(--c);stroke:var(--card);stroke-width:.5}.spot{stroke-width:7;stroke-dasharray:none}.soft{opacity:.18;stroke:none}
.at{fill:var(--ink);opacity:0}.at:hover{opacity:.1}
.keys{display:flex;flex-wrap:wrap;gap:2px 16px;list-style:none;margin:4px 0 0;padding:0;font-size:.85rem}
.keys li{max-width:100%;overflow-wrap:anywhere}
.key{width:22px;height:12px;margin-right:6px;vertical-align:-1px}
details{margin:6px 0 2px;font-size:.9rem}
summary{cursor:pointer;color:var(--link);width:max-content;max-width:100%;padding:2px 0}
.scroll{overflow:auto;max-width:100%;margin:8px 0}
details .scroll{max-height:22rem}
section>.scroll,.pair .scroll{background:var(--card);border:1px solid var(--edge);border-radius:10px;padding:4px 16px}
table{border-collapse:collapse;width:100%;font-size:.9rem}
caption{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
th,td{text-align:left;vertical-align:top;padding:6px 14px 6px 0;border-bottom:1px solid var(--grid);overflow-wrap:anywhere}
tbody tr:last-child>*{border-bottom:0}
thead th{color:var(--dim);font-weight:400;font-size:.8rem;white-space:nowrap}
tbody th:has(code){min-width:14rem}tbody th{font-weight:600;overflow-wrap:break-word;max-width:22rem}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.sign{font-weight:700;white-space:nowrap}.held{color:var(--good)}.broken{color:var(--bad)}.open{color:var(--dim)}
.proof{margin:4px 0;padding-left:16px;color:var(--bad)}
.many{columns:18rem;padding-left:18px;margin:4px 0}
.share{width:100px;height:8px}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,380px),1fr));gap:0 24px;align-items:start}
.pair>*{min-width:0}
footer{color:var(--dim);font-size:.85rem;margin:40px auto 32px}
:focus-visible{outline:2px solid var(--link);outline-offset:2px}
@media(max-width:760px){main,header,footer{padding-left:14px;padding-right:14px}.plots{grid-template-columns:minmax(0,1fr)}figure{padding:12px 10px 8px}}
@media(max-width:560px){svg.plot text{font-size:17px}svg.plot .row{font-size:13.5px}svg.plot .wide{display:none}.w:last-child{min-width:15rem}.facts{grid-template-columns:repeat(2,minmax(0,1fr))}.line{stroke-width:2.6}.spot{stroke-width:9}tbody th:has(code){min-width:9rem}th,td{padding-right:10px}h1{font-size:1.5rem}.tiles{grid-template-columns:repeat(2,minmax(0,1fr))}}
@media print{.plots{grid-template-columns:repeat(2,minmax(0,1fr));gap:10px}:root{color-scheme:light;--page:#fff}body{font-size:10.5pt}figure,.tiles li,tr,.banner{break-inside:avoid}h2,h3{break-after:avoid}nav,figure details{display:none}details::details-content{content-visibility:visible;block-size:auto}.repeat code,.scroll{max-height:none;overflow:visible}}
`
