// Checks rendered Kubernetes manifests as an API server would, without one:
//
//	manifests CRDS < manifests.yaml
//
// Built-in kinds are decoded strictly (an unknown or doubled field is an error), defaulted, and handed to the very
// validation of kube-apiserver; pods have to keep the "restricted" pod security standard. Other kinds are checked
// against the CustomResourceDefinitions in the folder CRDS, unknown fields included. A kind that is known to neither
// is an error. What is wrong is printed, one line each; the exit code is then 1.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

type head struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: manifests CRDS < manifests.yaml")
		os.Exit(64)
	}
	custom, err := loadDefinitions(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(64)
	}
	wrong, seen := 0, 0
	reader := utilyaml.NewYAMLReader(bufio.NewReader(os.Stdin))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		name, problems := check(document, custom)
		if name == "" {
			continue
		}
		seen++
		for _, problem := range problems {
			wrong++
			fmt.Printf("%s: %v\n", name, problem)
		}
	}
	if seen == 0 {
		fmt.Println("there is no manifest in the input")
		os.Exit(1)
	}
	if wrong > 0 {
		os.Exit(1)
	}
	fmt.Printf("%d manifests are good\n", seen)
}

// check returns the name of the manifest, empty for a document without content, and what is wrong with it.
func check(document []byte, custom definitions) (string, []error) {
	text, err := yaml.YAMLToJSONStrict(document)
	if err != nil {
		return "(unreadable)", []error{err}
	}
	var object any
	var about head
	if err := errors.Join(json.Unmarshal(text, &object), json.Unmarshal(text, &about)); err != nil {
		return "(unreadable)", []error{err}
	}
	if object == nil {
		return "", nil
	}
	name := fmt.Sprintf("%s %s", about.Kind, about.Metadata.Name)
	kind := schema.FromAPIVersionAndKind(about.APIVersion, about.Kind)
	if isBuiltin(kind) {
		return name, checkBuiltin(document)
	}
	definition, known := custom[kind]
	if !known {
		return name, []error{fmt.Errorf("%s is neither of Kubernetes nor of the definitions", kind)}
	}
	return name, definition.check(object)
}
