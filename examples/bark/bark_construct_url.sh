#!/bin/sh
# Prints a URL that is a web server: bark_construct_url.sh [URL]. The code in it answers with the page, which has its
# script and bark.py inside and sends the latter to where it comes from.
set -eu
cd "$(dirname "$0")"

page() {
    while IFS= read -r line; do
        case $line in
            '<script src="bark.js"'*) echo '<script>'; cat bark.js; echo '</script>' ;;
            '<script src="bark.py"'*) echo '<script type="text/x-python" id="adaptor">'; cat bark.py; echo '</script>' ;;
            *) printf '%s\n' "$line" ;;
        esac
    done < bark.html
}

adaptor() {
    printf "def run(request):\n    return PAGE\n\n\nPAGE = r'''"
    page
    echo "'''"
}

if grep -q "'''" bark.html bark.js bark.py || grep -q '</script' bark.js bark.py; then
    echo "$0: ''' in the page, or </script in what it contains, would end it early" >&2
    exit 1
fi
echo "${1:-http://localhost:9876}/bark?code_b64=$(adaptor | base64 -w0 | tr '+/' '-_' | tr -d =)"
