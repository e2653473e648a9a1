// The first process of a guest.

/** What the guest prints before the exit status of its script, at the start of a line. */
export const EXIT_MARK = 'ballonet-exit: ';

/**
 * Waits until the terminal on standard input has sent what was written to it: setting its modes does (TCSADRAIN), to
 * those that it has. A serial port that was quiet for half a second sleeps, and a thread of the kernel wakes it.
 */
const DRAIN = 'stty "$(stty -g)"';

/**
 * Runs a command and ends with its status. Linux throws away what a terminal has not sent yet when the leader of its
 * session ends (disassociate_ctty): the leader is a shell that waits for it.
 */
const SESSION = `"$@"; status=$?; ${DRAIN}; exit $status`;

/**
 * The text of /init: mounts the kernel's file systems, loads the modules in the given order, and runs the script in
 * /etc/ballonet/script, or a shell if there is none, on the console as its controlling terminal; then powers off.
 * Words of the kernel command line that the kernel does not know come as environment variables.
 */
export function initScript(hostname: string, modules: readonly string[]): string {
  if (!/^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$/.test(hostname)) {
    throw new RangeError(`the host name ${JSON.stringify(hostname)} of a guest is not letters, digits and hyphens`);
  }
  return `#!/bin/busybox sh
/bin/busybox --install -s
export PATH=/sbin:/usr/sbin:/bin:/usr/bin HOME=/root TERM=\${TERM:-linux}
mount -t proc proc /proc
mount -t sysfs sysfs /sys
# Pages are the host's to arrange: moving them about wakes an idle guest twice a second and divides shared ones.
echo 0 >/proc/sys/vm/compaction_proactiveness
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
hostname ${hostname}
for module in ${modules.join(' ')}; do
  insmod /lib/modules/$module.ko || echo "init: the module $module could not be loaded"
done
# A console on a virtio device is there only now.
exec </dev/console >/dev/console 2>&1
cd /root
if [ -f /etc/ballonet/script ]; then
  setsid cttyhack sh -c '${SESSION}' sh sh /etc/ballonet/script
  echo "${EXIT_MARK}$?"
else
  setsid cttyhack sh -c '${SESSION}' sh sh
fi
${DRAIN}
sync
poweroff -f
`;
}
