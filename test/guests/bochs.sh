# shellcheck shell=bash
# How Bochs boots our images: a multiboot kernel from a CD (isolinux, mboot.c32), a flat one from a floppy disk. Sourced; what is
# made lies in $out, which the caller sets.
# shellcheck disable=SC2154

# What Bochs needs and is not here; empty: nothing.
bochs_missing() {
  command -v bochs-bin >/dev/null || {
    echo 'bochs-bin is not installed'
    return
  }
  [ -s /usr/lib/ISOLINUX/isolinux.bin ] && [ -s /usr/lib/syslinux/modules/bios/mboot.c32 ] && command -v xorriso >/dev/null ||
    echo 'isolinux, syslinux-common or xorriso is not installed'
}

make_disk() { # IMAGE
  local image=$1 tree=$out/iso modules=/usr/lib/syslinux/modules/bios
  if [ "${image##*.}" = bin ]; then
    cp "$image" "$out/disk"
    truncate -s 510 "$out/disk"
    printf '\x55\xaa' >>"$out/disk"
    truncate -s 1474560 "$out/disk"
    printf 'floppya: 1_44=%s, status=inserted\nboot: floppy\n' "$out/disk"
    return
  fi
  rm -rf "$tree"
  mkdir -p "$tree/isolinux"
  cp "$image" "$tree/guest.elf"
  cp /usr/lib/ISOLINUX/isolinux.bin "$modules/ldlinux.c32" "$modules/mboot.c32" "$modules/libcom32.c32" "$tree/isolinux/"
  printf 'default guest\nprompt 0\nlabel guest\n  kernel mboot.c32\n  append /guest.elf\n' >"$tree/isolinux/isolinux.cfg"
  xorriso -as mkisofs -quiet -o "$out/boot.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot -boot-load-size 4 \
    -boot-info-table "$tree" 2>/dev/null
  printf 'ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14\nata0-master: type=cdrom, path=%s, status=inserted\nboot: cdrom\n' \
    "$out/boot.iso"
}

bochs_config() { # IMAGE CPU [PROCESSORS]
  cat <<END
display_library: rfb, options="timeout=0"
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/vgabios/vgabios-stdvga.bin
memory: guest=64, host=64
cpu: model=$2, count=${3:-1}, ips=50000000, reset_on_triple_fault=0
clock: sync=none, time0=1767225600
port_e9_hack: enabled=1
sound: waveoutdrv=dummy
speaker: enabled=0
log: $out/bochs.log
panic: action=fatal
error: action=ignore
info: action=report
END
  make_disk "$1"
}
