package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
)

// Reads tokens, a line each, and says of each whether the recipe lets it in.
func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		claims, err := Verify(context.Background(), lines.Text())
		if err != nil {
			fmt.Println("no", strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Println("ok", claims.ClientID)
		}
	}
}
