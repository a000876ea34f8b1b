package main

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"
)

// user is a browser: it keeps its cookies, and asks for one thing after another.
type user struct {
	jar     *cookiejar.Jar
	version string
}

// flip is a user who was answered by another version while its cookies stayed what they were.
type flip struct {
	Time    time.Time `json:"time"`
	Target  string    `json:"target"`
	From    string    `json:"from"`
	To      string    `json:"to"`
	Cookies string    `json:"cookies,omitempty"`
}

// newUsers is a target's users, all of them idle; none where its requests are nobody's.
func newUsers(t target) chan *user {
	idle := make(chan *user, t.Users)
	for range t.Users {
		jar, _ := cookiejar.New(nil) // without options it never fails
		idle <- &user{jar: jar}
	}
	return idle
}

// at is the address that cookies belong to: of the host that is asked for, wherever the gateway listens.
func (t target) at(gateway string) *url.URL {
	at, err := url.Parse(gateway + t.Path)
	if err != nil {
		return &url.URL{}
	}
	if t.Host != "" {
		at.Host = t.Host
	}
	return at
}

func (u *user) cookies(at *url.URL) string {
	all := []string{}
	for _, c := range u.jar.Cookies(at) {
		all = append(all, c.Name+"="+c.Value)
	}
	return strings.Join(all, "; ")
}

// answered keeps the answer's cookies, and tells whether the version changed although no cookie did.
func (u *user) answered(t target, at *url.URL, answer *http.Response, version string) *flip {
	before, from := u.cookies(at), u.version
	u.jar.SetCookies(at, answer.Cookies())
	if version == "" {
		return nil
	}
	u.version = version
	if from == "" || from == version || before != u.cookies(at) {
		return nil
	}
	return &flip{time.Now(), t.Name, from, version, before}
}
