// Command now prints what time it is, in nanoseconds since 1970.
package main

import (
	"fmt"
	"time"
)

func main() { fmt.Print(time.Now().UnixNano()) }
