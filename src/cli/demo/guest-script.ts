/**
 * The guest side of the demonstration: one shell script for busybox, the same in every guest, which takes what it has
 * to do from the kernel's command line. `workloads.ts` computes the same results outside.
 *
 * Lines that it prints for the host begin with `@ballonet`:
 *   `@ballonet phase NAME ROUND`, `@ballonet result ROUND NAME VALUE`, `@ballonet memory KEY=KIB ...`, `@ballonet done`.
 */

/** Words of the generated text, as the guest's awk and `workloads.ts` use them. */
export const WORDS = 'alder birch cedar fir hazel larch maple oak pine poplar rowan spruce willow yew ash elm';

/** First bytes of the disk that is for file work. */
export const DISK_LABEL = 'ballonet file work';

/** Size of a file of the in-memory table, bytes: whole pages. */
export const FILE_BYTES = 6 * 2 ** 20;

/** Lines of the base text that the in-memory table is filled with. */
export const BASE_LINES = 8000;

/** The script. It expects /proc, /sys and /dev mounted and the virtio_blk module loaded; it does not end the guest. */
export const GUEST_SCRIPT = `# Kernel messages would stand between the lines of results.
echo 1 > /proc/sys/kernel/printk
# Defaults, then what the command line says as ballonet.NAME=VALUE.
kind=sort seed=1 lines=2000 rounds=1 hold=8 keep=2 pause=1 delay=0
for word in $(cat /proc/cmdline); do
  case "$word" in
    ballonet.kind=*|ballonet.seed=*|ballonet.lines=*|ballonet.rounds=*|ballonet.hold=*|ballonet.keep=*|ballonet.pause=*|ballonet.delay=*)
      eval "\${word#ballonet.}" ;;
  esac
done
# The disk for the file work begins with the host's label; the other one, if any, is for swap.
swap= disk=
for device in /dev/vda /dev/vdb; do
  if [ -b $device ]; then
    if [ "$(head -c ${DISK_LABEL.length} $device)" = "${DISK_LABEL}" ]; then disk=$device; else swap=$device; fi
  fi
done
words="${WORDS}"

say() { echo "@ballonet $*"; }
result() { say result "$round" "$1" "$2"; }
first() { cut -d' ' -f1; }
memory() {
  say memory $(awk '/^(MemTotal|MemFree|MemAvailable|Cached|SwapTotal|SwapFree):/ { sub(":", "=", $1); printf "%s%s ", $1, $2 }' /proc/meminfo)
}

# The Lehmer sequence x = 16807 x mod (2^31 - 1) as lines of text: SEED LINES.
text() {
  awk -v x="$1" -v n="$2" -v list="$words" 'BEGIN {
    split(list, w, " ")
    for (i = 0; i < n; i++) { x = (x * 16807) % 2147483647; printf "%010d %s %d\\n", x, w[x % 16 + 1], i }
  }'
}

work_compress() {
  text $1 $lines > /job/plain
  gzip -c /job/plain > /job/packed.gz
  result trailer $(tail -c 8 /job/packed.gz | od -An -tx1 | tr -d ' \\n')
  result unpacked $(gunzip -c /job/packed.gz | sha256sum | first)
}

work_hash() {
  text $1 $lines > /job/plain
  result sha256 $(sha256sum < /job/plain | first)
  result sha512 $(sha512sum < /job/plain | first)
  link=$1 i=0
  while [ $i -lt 16 ]; do link=$(echo "$link $i" | sha1sum | first); i=$((i + 1)); done
  result chain $link
}

work_sort() {
  text $1 $lines > /job/plain
  result bytes $(sort /job/plain | md5sum | first)
  result reverse $(sort -k2,2 /job/plain -r | head -n 1 | cut -d' ' -f2)
  result numeric $(sort -n -r /job/plain | md5sum | first)
}

# An associative array that grows, loses every second entry, and grows again.
work_table() {
  result table $(awk -v x="$1" -v n="$lines" 'BEGIN {
    for (i = 0; i < n; i++) { x = (x * 16807) % 2147483647; table["key" i] = x }
    for (i = 0; i < n; i += 2) delete table["key" i]
    for (i = 0; i < n; i += 4) { x = (x * 16807) % 2147483647; table["key" i] = x }
    for (key in table) { count++; sum += table[key] % 65536 }
    printf "%d:%d\\n", count, sum
  }')
}

# Reads what the host put on the disk, writes behind it, reads back past the guest's cache.
work_files() {
  size=$(blockdev --getsize64 $disk)
  half=$((size / 131072))
  result given $(dd if=$disk bs=65536 count=$half 2>/dev/null | sha256sum | first)
  text $1 $lines > /job/plain
  dd if=/job/plain of=$disk bs=65536 seek=$half conv=notrunc,sync 2>/dev/null
  sync
  echo 3 > /proc/sys/vm/drop_caches
  result written $(dd if=$disk bs=65536 skip=$half 2>/dev/null | head -c $(wc -c < /job/plain) | sha256sum | first)
}

work_tally() {
  text $1 $lines > /job/plain
  result words $(cut -d' ' -f2 /job/plain | sort | uniq -c | awk '{ printf "%s=%d,", $2, $1 }')
  result sevens $(grep -c 777 /job/plain)
  result upper $(tr a-z A-Z < /job/plain | sed 's/^00*//' | md5sum | first)
}

# The in-memory table of files holds the base text, repeated: file K of round R begins K times its size + R bytes into it.
# As the base text has an odd length, no page of one round is like another.
grow() {
  k=0
  while [ $k -lt $files ]; do
    { tail -c +$(((k * ${FILE_BYTES} + round) % length + 1)) /job/base; cat $copies; } > /table/$k
    truncate -s ${FILE_BYTES} /table/$k
    k=$((k + 1))
  done
}
# Of R rounds, each looks at every R-th file, another one each time.
check() { (cd /table && md5sum $(seq $((round % rounds)) $rounds $((files - 1)))) | first | md5sum | first; }
shrink() { (cd /table && rm -f $(seq $keep $((files - 1)))); }

if [ -n "$swap" ]; then mkswap $swap > /dev/null && swapon $swap || say failed swap; fi
mkdir -p /job /table
mount -t tmpfs -o size=100% work /job
mount -t tmpfs -o size=100% table /table
text $seed ${BASE_LINES} > /job/base
[ $(($(wc -c < /job/base) % 2)) = 1 ] || echo >> /job/base
length=$(wc -c < /job/base)
copies=
i=0
while [ $i -lt ${FILE_BYTES} ]; do copies="$copies /job/base"; i=$((i + length)); done
files=$((hold * 1048576 / ${FILE_BYTES}))
say phase delayed 0
sleep $delay
round=1
while [ $round -le $rounds ]; do
  say phase busy $round
  work_$kind $((seed + round))
  rm -f /job/plain /job/packed.gz
  say phase growing $round
  grow
  memory
  say phase holding $round
  sleep $pause
  say phase checking $round
  result held $(check)
  say phase shrinking $round
  shrink
  memory
  say phase idle $round
  sleep $pause
  round=$((round + 1))
done
say done
`;
