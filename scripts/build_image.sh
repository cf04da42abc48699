#!/bin/sh
# Build the Dockerfile's image without Docker and without a registry, as root on Debian:
#
#   apt-get install buildah debootstrap
#   scripts/build_image.sh [OPTION OF buildah bud]...      such as --build-arg EXTRAS=cuda,server,http
#
# Debian 12 with its Python 3.11 takes the place of python:3.11-slim. Inside a container set STORAGE_DRIVER=vfs.
set -eu
cd "$(dirname "$0")/.."
export BUILDAH_ISOLATION="${BUILDAH_ISOLATION:-chroot}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
debootstrap --variant=minbase --include=python3,python3-pip,ca-certificates bookworm "$work/root" >"$work/log" ||
  { cat "$work/log" >&2; exit 1; }
ln -s python3 "$work/root/usr/bin/python"
rm -rf "$work"/root/usr/lib/python3*/EXTERNALLY-MANAGED "$work"/root/var/cache/apt/archives/*.deb \
  "$work"/root/var/lib/apt/lists/*

base=$(buildah from scratch)
buildah add --quiet "$base" "$work/root" / >/dev/null
buildah commit --quiet --rm "$base" localhost/python:3.11 >/dev/null
buildah bud --from localhost/python:3.11 --pull-never --network host --format docker --tag ecg "$@" .
buildah images ecg
