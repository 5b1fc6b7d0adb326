// Calls morse.py in the current directory: go run call.go [URL [TEXT]]
package main

import (
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
)

func main() {
	where, text := "http://localhost:9876", "owt"
	if len(os.Args) > 1 {
		where = os.Args[1]
	}
	if len(os.Args) > 2 {
		text = os.Args[2]
	}
	code, err := os.ReadFile("morse.py")
	if err != nil {
		log.Fatal(err)
	}
	answer, err := http.PostForm(where, url.Values{"code": {string(code)}, "text": {text}})
	if err != nil {
		log.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK {
		io.Copy(os.Stderr, answer.Body)
		log.Fatal(answer.Status)
	}
	if _, err := io.Copy(os.Stdout, answer.Body); err != nil {
		log.Fatal(err)
	}
}
