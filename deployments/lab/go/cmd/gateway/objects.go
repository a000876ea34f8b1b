package main

// What the gateway reads of the cluster's objects, as plain data: two versions that are equal here are the same to it.

type metadata struct {
	Name              string            `json:"name"`
	Labels            map[string]string `json:"labels"`
	Generation        int64             `json:"generation"`
	CreationTimestamp string            `json:"creationTimestamp"`
	DeletionTimestamp string            `json:"deletionTimestamp"`
}

type pod struct {
	Metadata metadata `json:"metadata"`
	Spec     struct {
		Containers []struct {
			Ports []struct {
				Name          string `json:"name"`
				ContainerPort int    `json:"containerPort"`
			} `json:"ports"`
		} `json:"containers"`
	} `json:"spec"`
	Status struct {
		PodIP      string `json:"podIP"`
		Conditions []struct {
			Type   string `json:"type"`
			Status string `json:"status"`
		} `json:"conditions"`
	} `json:"status"`
}

// endpoint is a pod as an address that traffic may go to, or not.
type endpoint struct {
	Labels  map[string]string
	IP      string
	Ports   map[string]int
	Serving bool
}

func (p pod) key() string { return p.Metadata.Name }

func (p pod) project() endpoint {
	e := endpoint{Labels: p.Metadata.Labels, IP: p.Status.PodIP, Ports: map[string]int{}}
	for _, container := range p.Spec.Containers {
		for _, port := range container.Ports {
			e.Ports[port.Name] = port.ContainerPort
		}
	}
	for _, condition := range p.Status.Conditions {
		if condition.Type == "Ready" {
			e.Serving = condition.Status == "True" && e.IP != "" && p.Metadata.DeletionTimestamp == ""
		}
	}
	return e
}

type service struct {
	Metadata metadata    `json:"metadata"`
	Spec     serviceSpec `json:"spec"`
}

type serviceSpec struct {
	Selector map[string]string `json:"selector"`
	Ports    []servicePort     `json:"ports"`
}

type servicePort struct {
	Port       int `json:"port"`
	TargetPort any `json:"targetPort"` // a number or a container port's name
}

func (s service) key() string { return s.Metadata.Name }

func (s service) project() serviceSpec { return s.Spec }

type httpRoute struct {
	Metadata metadata  `json:"metadata"`
	Spec     routeSpec `json:"spec"`
}

type routeSpec struct {
	Hostnames []string `json:"hostnames"`
	Rules     []rule   `json:"rules"`
	created   string
	version   int64
}

type rule struct {
	Matches     []match      `json:"matches"`
	BackendRefs []backendRef `json:"backendRefs"`
	Filters     []filter     `json:"filters"`
}

type match struct {
	Path        *valueMatch  `json:"path,omitempty"`
	Headers     []valueMatch `json:"headers,omitempty"`
	Method      string       `json:"method,omitempty"`
	QueryParams []valueMatch `json:"queryParams,omitempty"`
}

type valueMatch struct {
	Type  string `json:"type,omitempty"`
	Name  string `json:"name,omitempty"`
	Value string `json:"value,omitempty"`
}

type backendRef struct {
	Kind    string   `json:"kind"`
	Name    string   `json:"name"`
	Port    int      `json:"port"`
	Weight  *int     `json:"weight"`
	Filters []filter `json:"filters"`
}

type filter struct {
	Type     string        `json:"type"`
	Request  *headerChange `json:"requestHeaderModifier"`
	Response *headerChange `json:"responseHeaderModifier"`
}

type headerChange struct {
	Set    []valueMatch `json:"set"`
	Add    []valueMatch `json:"add"`
	Remove []string     `json:"remove"`
}

func (r httpRoute) key() string { return r.Metadata.Name }

func (r httpRoute) project() routeSpec {
	spec := r.Spec
	spec.created, spec.version = r.Metadata.CreationTimestamp, r.Metadata.Generation
	return spec
}
