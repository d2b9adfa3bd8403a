package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	// askTimeout bounds a request for the state of a daemon, which has it in memory.
	askTimeout = 2 * time.Second
	// maxState bounds the size of a state.
	maxState = 1 << 20
)

// AskState returns what the daemon that serves HTTP at an address, host:port, reports of
// itself.
func AskState(ctx context.Context, address string) (state State, err error) {
	url := "http://" + address + "/statusz"
	defer func() {
		if err != nil {
			state, err = State{}, fmt.Errorf("%s: %w", url, err)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return State{}, err
	}
	// No proxy, no connection that stays open, and no answer of somebody else.
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return State{}, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return State{}, errors.New(response.Status)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxState)).Decode(&state); err != nil {
		return State{}, err
	}
	if state.Daemon == "" {
		return State{}, errors.New("what serves there is no daemon of confcom")
	}
	return state, nil
}
