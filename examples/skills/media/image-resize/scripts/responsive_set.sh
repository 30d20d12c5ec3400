#!/usr/bin/env bash
# Make JPEG and WebP versions of one picture in three widths and print the srcset of each format.
set -euo pipefail

source=${1:?usage: responsive_set.sh PICTURE FOLDER}
folder=${2:?usage: responsive_set.sh PICTURE FOLDER}
name=$(basename -- "${source%.*}")
native=$(magick "$source" -auto-orient -format '%w' info:)
mkdir -p -- "$folder"

for format in jpg webp; do
  srcset=()
  for width in 480 960 1600; do
    ((width <= native)) || continue
    target="$folder/$name-$width.$format"
    magick "$source" -auto-orient -colorspace sRGB -resize "${width}x" -strip -quality 80 "$target"
    srcset+=("$name-$width.$format ${width}w")
  done
  if ((${#srcset[@]})); then
    joined=$(printf '%s, ' "${srcset[@]}")
    echo "$format: ${joined%, }"
  fi
done
