# Draws docs/images/tlb_reach.svg from the results of docs/images/tlb_reach.ini:
#   gnuplot -e 'results="out/tlb_reach/results.csv"' docs/images/tlb_reach.gp
# Debian package gnuplot-nox. With picture="FILE" beside `results` it draws there.
if (!exists("picture")) picture = "docs/images/tlb_reach.svg"
set terminal svg size 860,360 font "sans-serif,13" background "white"
set output picture
set datafile separator comma

set logscale x 2
set xtics (96, 192, 384, 768, 1536, 3072, 6144)
set xrange [85:7000]
set yrange [0:22]
set xlabel "entries of the second-level TLB"
set ylabel "cycles of translation per update"
set key outside right center Left reverse width -1 samplen 2 spacing 1.3
set border 3
set xtics nomirror
set ytics nomirror
set grid ytics linecolor rgb "#dddddd"
set arrow from 1536, graph 0 to 1536, graph 1 nohead dashtype 3 linecolor rgb "#888888"
set label "Skylake has 1536" at 1536, graph 0.96 offset character 0.6, 0.6 textcolor rgb "#666666"

updates = 200 * 1024
lookups(row) = column("cycles.tlb") / updates
walks(row) = (column("cycles.pwc") + column("cycles.walk_read") + column("cycles.walk_update")) / updates
# The page sizes are the slower factor of the product: points 1 to 7, then 8 to 14.
small(cycles) = column("point") <= 7 ? cycles : NaN
huge(cycles) = column("point") >= 8 ? cycles : NaN
entries(row) = column("tlb.l2.entries")
plot results using (entries(0)):(small(lookups(0))):(small(lookups(0) + walks(0))) with filledcurves \
       fillcolor rgb "#e9b9b5" title "4K pages: page walks", \
     results using (entries(0)):(small(0)):(small(lookups(0))) with filledcurves \
       fillcolor rgb "#f5e0c3" title "4K pages: second-level look-ups", \
     results using (entries(0)):(small(lookups(0) + walks(0))) with linespoints linewidth 2 pointtype 7 pointsize 0.6 \
       linecolor rgb "#b5312c" title "4K pages: sum", \
     results using (entries(0)):(huge(lookups(0) + walks(0))) with linespoints linewidth 2 pointtype 5 pointsize 0.6 \
       linecolor rgb "#2c6fb5" title "2M pages: sum"
