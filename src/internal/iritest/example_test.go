package iritest_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/iritest"
)

func ExampleNewServer() {
	node := iritest.NewServer(iritest.Version("1.8.6"), iritest.Neighbours(2))
	defer node.Close()

	send := func() {
		req, _ := http.NewRequest(http.MethodPost, node.URL, strings.NewReader(`{"command":"attachToTangle"}`))
		req.Header.Set("X-IOTA-API-Version", "1")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			fmt.Println("no response")
			return
		}
		defer func() { _ = resp.Body.Close() }()
		body, _ := io.ReadAll(resp.Body)
		fmt.Println(resp.StatusCode, string(body))
	}
	send()
	node.Update(func(s *iritest.State) { s.PoW = true })
	send()
	node.Update(func(s *iritest.State) { s.Fault = iritest.FaultDrop })
	send()
	fmt.Println(node.Count("attachToTangle"))

	// Output:
	// 401 {"duration":0,"error":"COMMAND attachToTangle is not available on this node"}
	// 500 {"duration":0,"exception":"Invalid parameters"}
	// no response
	// 3
}
