# The tables of bench/peers, from its results.tsv: columns round, tool, instructions, cpu_s, wall_s, rss_kib, guest_kib.
# Ratios are taken within a round, where the emulators ran one after the other, and only then ordered.
NR == 1 { next }
{
  instructions[$2, $1] = $3; cpu[$2, $1] = $4; rss[$2, $1] = $6; guest[$2, $1] = $7
  seen[$2] = 1
  if ($1 > rounds) rounds = $1
}

function rate(tool, r) { return instructions[tool, r] / cpu[tool, r] / 1e6 }

# Orders value[1..rounds] in place.
function order(value,   i, j, v) {
  for (i = 2; i <= rounds; ++i) {
    v = value[i]
    for (j = i - 1; j >= 1 && value[j] > v; --j) value[j + 1] = value[j]
    value[j + 1] = v
  }
}
function median(value) { return (value[int((rounds + 1) / 2)] + value[int(rounds / 2) + 1]) / 2 }
function figures(value) {
  order(value)
  return sprintf("%8.2f %7.2f", median(value), value[1])
}

END {
  names["walks"] = "nestwalk, cache.model=walks"; names["full"] = "nestwalk, cache.model=full"
  names["bochs"] = "bochs"; names["qemu"] = "qemu, tcg"
  count = split("walks full bochs qemu", tools, " ")
  printf "\n%-28s %14s %9s | %16s | %16s | %16s\n", "", "", "", "M instr / CPU s", "rate / Bochs's", "work / Bochs's"
  printf "%-28s %14s %9s | %8s %7s | %8s %7s | %8s %7s\n", "", "M instructions", "CPU s",
    "median", "min", "median", "min", "median", "min"
  for (k = 1; k <= count; ++k) {
    t = tools[k]
    if (!(t in seen)) continue
    for (r = 1; r <= rounds; ++r) value[r] = cpu[t, r]
    order(value)
    counted = instructions[t, 1] != "-"
    line = sprintf("%-28s %14s %9.2f |", names[t], counted ? sprintf("%.1f", instructions[t, 1] / 1e6) : "-", median(value))
    for (r = 1; r <= rounds; ++r) value[r] = counted ? rate(t, r) : 0
    line = line (counted ? " " figures(value) : sprintf(" %8s %7s", "-", "-")) " |"
    for (r = 1; r <= rounds; ++r) value[r] = counted && ("bochs" in seen) ? rate(t, r) / rate("bochs", r) : 0
    line = line (counted && ("bochs" in seen) ? " " figures(value) : sprintf(" %8s %7s", "-", "-")) " |"
    for (r = 1; r <= rounds; ++r) value[r] = ("bochs" in seen) ? cpu["bochs", r] / cpu[t, r] : 0
    print line (("bochs" in seen) ? " " figures(value) : sprintf(" %8s %7s", "-", "-"))
  }

  print "\nrate: each by its own count. Bochs counts every iteration of a repeated string instruction, Nestwalk all as one."
  print "work: the same boot and workload in CPU seconds; above 1 is faster than Bochs. Bochs is counted and timed from the"
  print "kernel's entry on, without BIOS and boot loader; the others with their start and the loading of the images. QEMU"
  print "counts nothing. CPU s: user and system, median. min: the worst round of a ratio or rate."
  print ""
  for (k = 1; k <= 2; ++k) {
    t = tools[k]
    if (!(t in seen) || guest[t, 1] == "-") continue
    worst = -1
    for (r = 1; r <= rounds; ++r)
      if (rss[t, r] - guest[t, r] > worst) { worst = rss[t, r] - guest[t, r]; at = r }
    printf "%-28s peak resident %.1f MiB, of which guest memory touched %.1f MiB (of %d): %.1f MiB more\n", names[t],
      rss[t, at] / 1024, guest[t, at] / 1024, memory, worst / 1024
  }
}
