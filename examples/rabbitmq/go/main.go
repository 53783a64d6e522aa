// Publishes events to browsers by way of RabbitMQ, with confirms.
//
// Reads lines such as {"key": "sales", "id": "sale-1", "event": {"type": "sale", "total": 20}}:
// key is the group, or user:<sub>, connection:<id> or all:. With an id the event reaches browsers
// once, however often it is published.
//
//	AMQP_URL=amqp://guest:guest@localhost:5672/ go run . < events.jsonl
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"

	amqp "github.com/rabbitmq/amqp091-go"
)

type line struct {
	Key   string          `json:"key"`
	ID    string          `json:"id"`
	Event json.RawMessage `json:"event"`
}

// As many as may wait for their confirm.
const inFlight = 500

func main() {
	if err := publish(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func publish() error {
	url := os.Getenv("AMQP_URL")
	if url == "" {
		url = "amqp://guest:guest@localhost:5672/"
	}
	connection, err := amqp.Dial(url)
	if err != nil {
		return err
	}
	defer connection.Close()
	channel, err := connection.Channel()
	if err != nil {
		return err
	}
	if err := channel.Confirm(false); err != nil {
		return err
	}
	// A mandatory message that no queue takes comes back, before its confirm.
	returns := channel.NotifyReturn(make(chan amqp.Return, inFlight+1))
	var waiting []*amqp.DeferredConfirmation
	count := 0
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var message line
		if err := json.Unmarshal(lines.Bytes(), &message); err != nil {
			return err
		}
		publishing := amqp.Publishing{
			ContentType:  "application/json",
			DeliveryMode: amqp.Persistent,
			MessageId:    message.ID,
			Body:         message.Event,
		}
		confirmation, err := channel.PublishWithDeferredConfirmWithContext(
			context.Background(), "groupcast", message.Key, true, false, publishing)
		if err != nil {
			return err
		}
		waiting = append(waiting, confirmation)
		if len(waiting) == inFlight {
			if err := confirmed(waiting, returns); err != nil {
				return err
			}
			waiting = waiting[:0]
		}
		count++
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if err := confirmed(waiting, returns); err != nil {
		return err
	}
	fmt.Printf("{\"confirmed\": %d}\n", count)
	return nil
}

// confirmed waits for the broker's word on each: not before it may the caller forget them.
func confirmed(waiting []*amqp.DeferredConfirmation, returns <-chan amqp.Return) error {
	for _, confirmation := range waiting {
		if !confirmation.Wait() {
			return fmt.Errorf("the broker did not take a message")
		}
	}
	select {
	case returned, open := <-returns:
		if open {
			return fmt.Errorf("no queue takes %q: %s", returned.RoutingKey, returned.ReplyText)
		}
	default:
	}
	return nil
}
