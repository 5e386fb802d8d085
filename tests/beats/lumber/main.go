// Sends batches with go-lumber, the client inside Beats, and prints how many events were
// acknowledged: lumber ADDRESS sync|async LEVEL BATCHES EVENTS
package main

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	lumber "github.com/elastic/go-lumber/client/v2"
)

func main() {
	address, way := os.Args[1], os.Args[2]
	numbers := make([]int, 3)
	for at, text := range os.Args[3:6] {
		number, err := strconv.Atoi(text)
		check(err)
		numbers[at] = number
	}
	level, batches, events := numbers[0], numbers[1], numbers[2]
	options := []lumber.Option{lumber.CompressionLevel(level), lumber.Timeout(20 * time.Second)}
	if way == "sync" {
		fmt.Println(sync_(address, options, batches, events))
	} else {
		fmt.Println(async(address, options, batches, events))
	}
}

func sync_(address string, options []lumber.Option, batches, events int) int {
	client, err := lumber.SyncDial(address, options...)
	check(err)
	defer client.Close()
	acknowledged := 0
	for number := 0; number < batches; number++ {
		count, err := client.Send(batch(number, events))
		check(err)
		acknowledged += count
	}
	return acknowledged
}

func async(address string, options []lumber.Option, batches, events int) int {
	client, err := lumber.AsyncDial(address, 5, options...)
	check(err)
	defer client.Close()
	var waiting sync.WaitGroup
	var lock sync.Mutex
	acknowledged := 0
	for number := 0; number < batches; number++ {
		waiting.Add(1)
		check(client.Send(func(count uint32, err error) {
			check(err)
			lock.Lock()
			acknowledged += int(count)
			lock.Unlock()
			waiting.Done()
		}, batch(number, events)))
	}
	waiting.Wait()
	return acknowledged
}

func batch(number, events int) []interface{} {
	made := make([]interface{}, events)
	for at := range made {
		made[at] = map[string]interface{}{
			"@metadata": map[string]interface{}{"_id": fmt.Sprintf("%d-%d", number, at)},
			"n":         at,
		}
	}
	return made
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
