package main

import (
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// keepIn is the folder of what clients insert and create: DB.NAME.bson (documents), DB.NAME.create.bson (commands),
// DB.NAME.indexes.bson (specifications), names URL-escaped; "" to swallow it.
var (
	keepIn  string
	keeping sync.Mutex
)

// keep adds BSON documents to a file before they are confirmed.
func keep(command bson.Raw, name, suffix string, documents ...[]byte) {
	if keepIn == "" {
		return
	}
	db, _ := command.Lookup("$db").StringValueOK()
	keeping.Lock()
	defer keeping.Unlock()
	path := filepath.Join(keepIn, url.QueryEscape(db+"."+name)+suffix)
	file := must(os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644))
	for _, one := range documents {
		must(file.Write(one))
	}
	if err := file.Close(); err != nil {
		panic(err)
	}
}

// keepArray keeps the documents of one of the command's arrays.
func keepArray(command bson.Raw, name, field, suffix string) {
	array, ok := command.Lookup(field).ArrayOK()
	if !ok {
		return
	}
	values, _ := array.Values()
	for _, one := range values {
		keep(command, name, suffix, one.Value)
	}
}
