// Calls examples/publish with what oapi-codegen makes of their openapi.json: t/e2e/test_openapi.py runs this.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"

	"try/api"
)

func main() {
	ctx := context.Background()
	client, err := api.NewClientWithResponses(os.Args[1])
	check(err)

	most := 2
	letters, err := client.LettersWithResponse(ctx, api.LettersJSONRequestBody{Text: "hello", Most: &most})
	check(err)
	for _, one := range *letters.JSON200 {
		fmt.Println(one.Letter, one.Count)
	}

	text := "Say it"
	pause := float32(0)
	words, err := client.WordsWithResponse(ctx, api.WordsJSONRequestBody{Text: &text, Pause: &pause})
	check(err)
	fmt.Println(string(words.Body))

	asked, err := client.GetLettersWithResponse(ctx, &api.GetLettersParams{Text: "aa"})
	check(err)
	fmt.Println((*asked.JSON200)[0].Count)

	count := 5000
	refused, err := client.PrimesWithResponse(ctx, api.PrimesJSONRequestBody{Count: &count}, asJSON)
	check(err)
	fmt.Println(refused.StatusCode(), refused.ApplicationproblemJSON400.Type)

	said, err := json.Marshal(refused.ApplicationproblemJSON400)
	check(err)
	fmt.Println(len(said) > 20)
}

// Errors come as JSON to who wants them so.
func asJSON(_ context.Context, request *http.Request) error {
	request.Header.Set("Accept", "application/problem+json")
	return nil
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
