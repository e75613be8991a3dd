# Draws docs/images/tlb_reach.svg from the results of docs/images/tlb_reach.ini:
#   gnuplot -e 'results="out/tlb_reach/results.csv"' docs/images/tlb_reach.gp
# Debian package gnuplot-nox. With picture="FILE" beside `results` it draws there.
if (!exists("picture")) picture = "docs/images/tlb_reach.svg"
set terminal svg size 720,380 font "sans-serif,13" background "white"
set output picture
set datafile separator comma

set logscale x 2
set xtics (96, 192, 384, 768, 1536, 3072, 6144)
set xrange [85:7000]
set yrange [0:*]
set xlabel "entries of the second-level TLB"
set ylabel "cycles of translation per update"
set key top right
set border 3
set xtics nomirror
set ytics nomirror
set grid ytics linecolor rgb "#dddddd"
set arrow from 1536, graph 0 to 1536, graph 1 nohead dashtype 3 linecolor rgb "#888888"
set label "Skylake" at 1536, graph 0.04 offset character 0.6, 0 textcolor rgb "#666666"

updates = 200 * 1024
cost(row) = (column("cycles.tlb") + column("cycles.pwc") + column("cycles.walk_read") + column("cycles.walk_update")) / updates
# The page sizes are the slower factor of the product: points 1 to 7, then 8 to 14.
plot results using (column("tlb.l2.entries")):(column("point") <= 7 ? cost(0) : NaN) with linespoints linewidth 2 pointtype 7 \
       linecolor rgb "#b5312c" title "4096 pages of 4K", \
     results using (column("tlb.l2.entries")):(column("point") >= 8 ? cost(0) : NaN) with linespoints linewidth 2 pointtype 5 \
       linecolor rgb "#2c6fb5" title "8 pages of 2M"
