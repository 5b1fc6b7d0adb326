#!/bin/sh
# Saves speech as a WAV: bark.sh URL TEXT OUTFILE [SPEAKER]. With - for OUTFILE it can be heard while it is made:
#
#   ./bark.sh http://localhost:9876 'Hello there. How are you?' - | aplay
set -eu
url=$1 text=$2 outfile=$3 speaker=${4:-v2/en_speaker_6}

# jo takes some values for the names of files: the text is given as one.
speak() {
    printf %s "$text" |
        jo code=@"$(dirname "$0")/bark.py" text=@/dev/stdin speaker="$speaker" use_cache=true cache_kwargs=true |
        curl -sS --no-buffer --fail-with-body "$url/bark" --json @-
}

if [ "$outfile" = - ]; then
    speak
    exit
fi

# What was there before stays until there is something better.
sound=$(mktemp "$outfile.XXXXXX")
trap 'rm -f "$sound"' EXIT
speak > "$sound" || {
    status=$?
    [ $status != 22 ] || cat "$sound" >&2 # an error's text; else the sound broke off
    exit $status
}

# While the sound was made, nobody knew how long it would be. Now its two lengths can be filled in.
fill_in() {
    for shift in 0 8 16 24; do
        printf %b "\\0$(printf %o $(($2 >> shift & 255)))"
    done | dd of="$sound" bs=1 seek="$1" conv=notrunc status=none
}
size=$(wc -c < "$sound")
fill_in 4 $((size - 8))
fill_in 40 $((size - 44))
chmod "$(printf %o $((0666 & ~0$(umask))))" "$sound"
mv "$sound" "$outfile"
