package main

import (
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// A member of a replica set is played with -set: what drivers want to know of one.
var (
	setName, me, hosts, primary string
	process                     = bson.NewObjectID()
	mongos                      bool
)

// membership is what hello says of the replica set, and with -store which process this is. A client that waits for news of it waits in vain.
func membership(doc bson.Raw) bson.D {
	if mongos {
		return bson.D{{"msg", "isdbgrid"}}
	}
	if setName == "" && store == nil {
		return nil
	}
	if wait, ok := doc.Lookup("maxAwaitTimeMS").AsInt64OK(); ok {
		time.Sleep(time.Duration(wait) * time.Millisecond)
	}
	version := bson.E{Key: "topologyVersion", Value: bson.D{{"processId", process}, {"counter", int64(0)}}}
	if setName == "" {
		return bson.D{version}
	}
	all := bson.A{}
	for _, host := range strings.Split(hosts, ",") {
		all = append(all, host)
	}
	return bson.D{{"setName", setName}, {"setVersion", int32(1)}, {"me", me}, {"hosts", all}, {"primary", primary},
		{"secondary", me != primary}, {"lastWrite", bson.D{{"lastWriteDate", bson.NewDateTimeFromTime(time.Now())}}},
		version}
}
