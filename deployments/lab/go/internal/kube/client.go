// Package kube lists and watches objects of an apiserver in plain JSON.
//
// client-go would be most of this module's compile time, for three lists.
package kube

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Client speaks to one apiserver.
type Client struct {
	server, token string
	http          *http.Client
}

type kubeconfig struct {
	Current  string `yaml:"current-context"`
	Contexts []struct {
		Name    string
		Context struct{ Cluster, User string }
	}
	Clusters []struct {
		Name    string
		Cluster struct {
			Server   string
			CA       string `yaml:"certificate-authority"`
			CAData   string `yaml:"certificate-authority-data"`
			Insecure bool   `yaml:"insecure-skip-tls-verify"`
		}
	}
	Users []struct {
		Name string
		User struct {
			Token     string
			TokenFile string `yaml:"tokenFile"`
		}
	}
}

// Open reads the current context of a kubeconfig; users are known by their token.
func Open(path string) (*Client, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var config kubeconfig
	if err := yaml.Unmarshal(content, &config); err != nil {
		return nil, err
	}
	client, trust := &Client{}, &tls.Config{}
	for _, context := range config.Contexts {
		if context.Name == config.Current {
			err = client.fill(config, context.Context.Cluster, context.Context.User, trust)
		}
	}
	if err != nil || client.server == "" {
		return nil, fmt.Errorf("%s: no usable current context: %v", path, err)
	}
	client.http = &http.Client{Transport: &http.Transport{TLSClientConfig: trust}}
	return client, nil
}

func (c *Client) fill(config kubeconfig, cluster, user string, trust *tls.Config) (err error) {
	for _, entry := range config.Clusters {
		if entry.Name == cluster {
			c.server, trust.InsecureSkipVerify = strings.TrimRight(entry.Cluster.Server, "/"), entry.Cluster.Insecure
			trust.RootCAs, err = authority(entry.Cluster.CA, entry.Cluster.CAData)
		}
	}
	for _, entry := range config.Users {
		if entry.Name == user {
			c.token = entry.User.Token
			if entry.User.TokenFile != "" {
				var token []byte
				token, err = os.ReadFile(entry.User.TokenFile)
				c.token = strings.TrimSpace(string(token))
			}
		}
	}
	return err
}

func authority(file, data string) (*x509.CertPool, error) {
	var certificate []byte
	var err error
	switch {
	case data != "":
		err = json.Unmarshal([]byte(`"`+data+`"`), &certificate) // JSON's []byte is base64
	case file != "":
		certificate, err = os.ReadFile(file)
	default:
		return nil, nil
	}
	pool := x509.NewCertPool()
	if err == nil && !pool.AppendCertsFromPEM(certificate) {
		err = fmt.Errorf("no certificate in the authority")
	}
	return pool, err
}

// get opens a GET; the caller closes the body.
func (c *Client) get(ctx context.Context, path string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.server+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		return nil, fmt.Errorf("GET %s: %s", path, answer.Status)
	}
	return answer.Body, nil
}
