// Packages that Ballonet was tested with. scripts/write-tested-packages.ts writes this file.

import type { PackageRecord } from './apt.ts';

export const TESTED_SUITE = 'trixie';

export const TESTED_PACKAGES: readonly PackageRecord[] = [
  {
    name: 'linux-image-riscv64',
    version: '6.12.107-1',
    sha256: '1b458cc5b1d13b946bdca67bdca891fccf57882f8af972276d1346b24fa8285b',
    depends: ['linux-image-6.12.107+deb13-riscv64'],
    path: 'pool/main/l/linux/linux-image-riscv64_6.12.107-1_riscv64.deb',
  },
  {
    name: 'linux-image-6.12.107+deb13-riscv64',
    version: '6.12.107-1',
    sha256: 'abe9f65d74b434692149482b031db7a2aaf832921e09f69f775293c0e0c5799c',
    depends: ['kmod', 'initramfs-tools'],
    path: 'pool/main/l/linux/linux-image-6.12.107+deb13-riscv64_6.12.107-1_riscv64.deb',
  },
  {
    name: 'busybox-static',
    version: '1:1.37.0-6+b9',
    sha256: '4add476d2b185c5b487c285b38d790f0881a7e4a8e2ddde835f917e770eb8633',
    depends: [],
    path: 'pool/main/b/busybox/busybox-static_1.37.0-6+b9_riscv64.deb',
  },
  {
    name: 'python3.13-minimal',
    version: '3.13.5-2+deb13u5',
    sha256: '2d21f0475e95c00468421f914ecb3d7f89cd199617e5a6dc7c693e975c225156',
    depends: ['libpython3.13-minimal', 'libexpat1', 'zlib1g'],
    path: 'pool/main/p/python3.13/python3.13-minimal_3.13.5-2+deb13u5_riscv64.deb',
  },
  {
    name: 'libpython3.13-minimal',
    version: '3.13.5-2+deb13u5',
    sha256: '5d170a02c4127b58cffe299d579803a32653e488e02eaa00548d54a7af589ca9',
    depends: ['libc6', 'libssl3t64'],
    path: 'pool/main/p/python3.13/libpython3.13-minimal_3.13.5-2+deb13u5_riscv64.deb',
  },
  {
    name: 'libexpat1',
    version: '2.8.3-1~deb13u1',
    sha256: '114156a4bccea157194bc6dc9ac4e2b44f7e8416245a34b168e40a3baaa68fa3',
    depends: [],
    path: 'pool/main/e/expat/libexpat1_2.8.3-1~deb13u1_riscv64.deb',
  },
  {
    name: 'zlib1g',
    version: '1:1.3.dfsg+really1.3.1-1+b1',
    sha256: '38c52eef58e5fc9b13d93f8a7d0a0549c32b4f00402a778d39a135254f554314',
    depends: ['libc6'],
    path: 'pool/main/z/zlib/zlib1g_1.3.dfsg+really1.3.1-1+b1_riscv64.deb',
  },
  {
    name: 'libc6',
    version: '2.41-12+deb13u4',
    sha256: '77f0da760da3eab6318917857669ec23556b4e1ee489218cb966884a11b0d967',
    depends: ['libgcc-s1'],
    path: 'pool/main/g/glibc/libc6_2.41-12+deb13u4_riscv64.deb',
  },
  {
    name: 'libssl3t64',
    version: '3.5.7-1~deb13u2',
    sha256: 'af87d01b79d4ff71e7d46a53341cbb480a4a72b58679d50bc8dff392ceaef154',
    depends: ['libc6', 'libzstd1', 'zlib1g', 'openssl-provider-legacy'],
    path: 'pool/main/o/openssl/libssl3t64_3.5.7-1~deb13u2_riscv64.deb',
  },
  {
    name: 'libgcc-s1',
    version: '14.2.0-19',
    sha256: '16d3f9f534028615413d23f649e5d246baef48fe7db739ad564ef8b9a6e5587c',
    depends: ['gcc-14-base', 'libc6'],
    path: 'pool/main/g/gcc-14/libgcc-s1_14.2.0-19_riscv64.deb',
  },
  {
    name: 'libzstd1',
    version: '1.5.7+dfsg-1',
    sha256: '5967f5f97bfb6e7a8036d4e615c0ecd6861a9bb686bd60ee0c81422581faf0ad',
    depends: ['libc6'],
    path: 'pool/main/libz/libzstd/libzstd1_1.5.7+dfsg-1_riscv64.deb',
  },
  {
    name: 'openssl-provider-legacy',
    version: '3.5.7-1~deb13u2',
    sha256: '66420982a650137a3793a47be4b7ddf9a9f2bf6482c2ea7a194fd80511f62139',
    depends: ['libc6', 'libssl3t64'],
    path: 'pool/main/o/openssl/openssl-provider-legacy_3.5.7-1~deb13u2_riscv64.deb',
  },
  {
    name: 'gcc-14-base',
    version: '14.2.0-19',
    sha256: 'bb871e84c5c108463fa6a858e72f15cbf809f3888442b89941fc625449874206',
    depends: [],
    path: 'pool/main/g/gcc-14/gcc-14-base_14.2.0-19_riscv64.deb',
  },
];
