package main

import (
	"encoding/binary"
	"log"
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

// unkeep forgets what was inserted into a collection.
func unkeep(command bson.Raw, name string) {
	if keepIn == "" {
		return
	}
	db, _ := command.Lookup("$db").StringValueOK()
	keeping.Lock()
	defer keeping.Unlock()
	if err := os.Remove(filepath.Join(keepIn, url.QueryEscape(db+"."+name)+".bson")); err != nil && !os.IsNotExist(err) {
		log.Fatal(err)
	}
}

// merge is _mergeAuthzCollections: of the temporary collections it takes what is of one database into the server's own.
func merge(command bson.Raw) {
	if keepIn == "" {
		return
	}
	database := command.Lookup("db").StringValue()
	for field, into := range map[string]string{"tempUsersCollection": "system.users", "tempRolesCollection": "system.roles"} {
		from, _ := command.Lookup(field).StringValueOK()
		data, err := os.ReadFile(filepath.Join(keepIn, url.QueryEscape(from)+".bson"))
		if err != nil {
			continue // a collection that is not there has nothing
		}
		for len(data) > 0 {
			size := binary.LittleEndian.Uint32(data)
			if one := bson.Raw(data[:size]); one.Lookup("db").StringValue() == database {
				keep(command, into, ".bson", one)
			}
			data = data[size:]
		}
	}
}
